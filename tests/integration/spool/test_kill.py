"""The durable queue across real processes: kill -9 at any moment, concurrent writers, a file that can't grow."""

import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from eaves.events import Event
from eaves.spool import Spool
from eaves.spool.outcomes import RevisionOutcomes
from tests.processes.script import kill, read_line, run_script
from tests.waiting import wait_until

PRELUDE = """
import sys
from pathlib import Path
from eaves.errors import SpoolError
from eaves.events import Event
from eaves.spool import Spool

spool = Spool(Path(sys.argv[1]))

def image(event_id, size_bytes=20_000):
    return Event(id=event_id, source="/eaves/site/camera", type="dev.eaves.image.captured.v1", data=b"x" * size_bytes)

def say(text):
    sys.stdout.write(text + "\\n")  # one write, so that lines of threads don't mix
    sys.stdout.flush()
"""
PUT_FOR_EVER = """
import threading

def work(name):
    number = 0
    while True:
        spool.put(image(f"{name}-{number}"), lanes=("a", "b"))
        say(f"{name}-{number}")
        number += 1

for name in ("t0", "t1", "t2", "t3"):
    threading.Thread(target=work, args=(name,)).start()
"""
SETTLE_FOR_EVER = """
import random
from eaves.spool.image_choice import Candidate, ChoiceLimits
from eaves.spool.score_shift import Sample

limits = ChoiceLimits(audit_percent=0.0, images_per_hour=3600, bytes_per_day=10**9)
for entry in spool.peek("in", limit=10_000):
    reply = image("reply-" + entry.event.id, 500)
    sample = Sample(reply=reply, artifact="", source="", place=0, reference=[1], extensions={})
    look = {"hash": random.getrandbits(63), "margin": 0.5, "label": "rose", "why": "unsure"}
    candidate = Candidate(image=entry.event, lanes=("chosen",), limits=limits, **look)
    spool.ack(
        entry,
        puts=[(reply, ("out",))],
        outcome=("flowers-00002", "answered"),
        sample=sample,
        candidate=candidate,
    )
    say(entry.event.id)
"""
LIST = """
for lane in sys.argv[2:]:
    for entry in spool.peek(lane, limit=10**6):
        say(lane + " " + entry.event.id)
"""
PUT_SOME = """
for number in range(150):
    spool.put(image(f"{sys.argv[2]}-{number}"))
    spool.put(image(f"shared-{number}"), once=True)
"""
HOLD_LEASE = """
import signal
lease = spool.lease("out")
say(str(lease.acquire()))
signal.pause()
"""
PUT_UNTIL_FULL = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
number = 0
try:
    while True:
        spool.put(image(str(number)))
        say(str(number))
        number += 1
except SpoolError as error:
    say(f"error {error.hint}")
"""


def running(script: str, *args: object) -> AbstractContextManager[subprocess.Popen[str]]:
    return run_script(PRELUDE + script, *args)


def lines_of(script: str, *args: object) -> list[str]:
    """All that the script prints, run to its end."""
    with running(script, *args) as process:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        return output.splitlines()


def killed_after(script: str, path: Path, lines: int) -> list[str]:
    """Whole lines the script got out before SIGKILL, sent after so many of them."""
    with running(script, path) as process:
        return [*(read_line(process) for _ in range(lines)), *kill(process)]


@pytest.mark.parametrize("lines", [1, 60])
def test_every_acknowledged_put_survives_kill_9(tmp_path: Path, lines: int):
    path = tmp_path / "spool.db"
    acknowledged = killed_after(PUT_FOR_EVER, path, lines)
    found = lines_of(LIST, path, "a", "b")
    for lane in ("a", "b"):
        assert {f"{lane} {event_id}" for event_id in acknowledged} <= set(found)
    assert len({line[2:] for line in found}) * 2 == len(found), "an event is on both of its lanes or on none"


def test_kill_9_leaves_an_entry_or_its_reply_its_outcome_and_its_choice_never_both_or_neither(tmp_path: Path):
    path = tmp_path / "spool.db"
    with Spool(path) as spool:
        for number in range(300):
            spool.put(Event(id=str(number), source="/eaves/site/camera", type="t", data=b"x" * 1000), lanes=("in",))
    settled = killed_after(SETTLE_FOR_EVER, path, 40)
    with Spool(path) as spool:
        waiting = {entry.event.id for entry in spool.peek("in", limit=999)}
        replied = {entry.event.id.removeprefix("reply-") for entry in spool.peek("out", limit=999)}
        assert waiting | replied == {str(number) for number in range(300)}
        assert not waiting & replied
        assert set(settled) <= replied
        assert {entry.event.id for entry in spool.peek("chosen", limit=999)} == replied
        assert spool.counts() == {name: (len(replied), 0) for name in ("chosen", "out")} | {"in": (len(waiting), 0)}
        assert [one.unsure for one in spool.choices()] == [len(replied)]
        assert spool.outcomes()[1] == (RevisionOutcomes(revision="flowers-00002", answered=len(replied)),)
        assert [one.counted for one in spool.score_windows()] == [len(replied)]


def test_two_processes_write_at_once_and_the_counters_agree(tmp_path: Path):
    path = tmp_path / "new" / "spool.db"  # both may be the one that makes it
    with running(PUT_SOME, path, "one") as first, running(PUT_SOME, path, "two") as second:
        assert first.wait(timeout=60) == 0
        assert second.wait(timeout=60) == 0
    with Spool(path) as spool:
        found = [entry.event.id for entry in spool.peek("out", limit=9999)]
        expected = {f"{name}-{number}" for name in ("one", "two", "shared") for number in range(150)}
        assert sorted(found) == sorted(expected)
        assert spool.depth() == 450
        assert 450 * 20_000 < spool.size_bytes() < 450 * 20_500


def test_a_put_of_another_process_ends_a_wait(tmp_path: Path):
    path = tmp_path / "spool.db"
    with Spool(path) as spool:
        version = spool.version("out")
        with running("spool.put(image('1'))", path) as process:
            assert spool.wait(version, 30.0)
            assert process.wait(timeout=10) == 0
        wait_until(lambda: spool.depth() == 1)


def test_a_lease_passes_on_when_its_holder_is_killed(tmp_path: Path):
    path = tmp_path / "spool.db"
    with Spool(path) as spool, running(HOLD_LEASE, path) as holder:
        assert read_line(holder) == "True"
        lease = spool.lease("out")
        assert not lease.acquire()
        kill(holder)
        wait_until(lease.acquire)
        lease.release()


def test_a_file_that_cannot_grow_is_an_error_and_what_was_acknowledged_stays(tmp_path: Path):
    path = tmp_path / "spool.db"
    *acknowledged, last = lines_of(PUT_UNTIL_FULL, path)
    assert last.startswith("error check the disk"), "SQLite tells EFBIG, unlike ENOSPC, as an I/O error"
    assert len(acknowledged) > 10
    with Spool(path) as spool:
        assert [entry.event.id for entry in spool.peek("out", limit=999)] == acknowledged
        assert spool.put(Event(id="next", source="/eaves/site/camera", type="t"))
