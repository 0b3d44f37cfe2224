"""The ledger across kill -9: after it every line says what the queue says, and no acknowledged event is without one."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eaves.events import Event
from eaves.spool import LedgerLimits, Spool
from tests.integration.spool.test_kill import ROOT, killed_after, lines_of

OPEN = """
from eaves.spool import LedgerLimits, PutOutcome
spool.close()
spool = Spool(Path(sys.argv[1]), ledger=LedgerLimits(max_entries=100_000))
"""
PUT_BATCHES = (
    OPEN
    + """
number = 0
while True:
    events = [(image(str(number + offset), 500), ("a", "b")) for offset in range(20)]
    assert spool.put_many(events, once=True) == [PutOutcome.STORED] * 20
    assert spool.put_many(events, once=True) == [PutOutcome.REPEATED] * 20
    say(str(number))
    number += 20
"""
)
DRAIN = (
    OPEN
    + """
round = 0
while entries := spool.peek_batch("out", now=2e9, max_events=7, max_bytes=1 << 20):
    if round % 3 == 2:
        spool.dead_letter(entries[0], "answered 422", 422)
        say("dead " + entries[0].event.id)
    else:
        spool.ack_many(entries)
        say("released " + " ".join(entry.event.id for entry in entries))
    round += 1
"""
)
MEASURE = """
import json, resource, sys, time
from pathlib import Path
from eaves.events import Event
from eaves.spool import LedgerLimits, Spool

def rss():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])

def took(action, count):
    began = time.perf_counter()
    for number in range(count):
        action(number)
    return (time.perf_counter() - began) / count

def event(number):
    return Event(id=f"new-{number}", source="/eaves/site/camera", type="t", data=b"x" * 500)

with Spool(Path(sys.argv[1]), ledger=LedgerLimits(max_entries=int(sys.argv[2]))) as spool:
    before = rss()
    batches = [[(event(100 * batch + number), ("out",)) for number in range(100)] for batch in range(10)]
    put = took(lambda batch: spool.put_many(batches[batch], once=True), 10)
    again = took(lambda batch: spool.put_many(batches[batch], once=True), 10)
    ack = took(lambda _: spool.ack_many(spool.peek_batch("out", now=2e9, max_events=100, max_bytes=1 << 20)), 10)
    began = time.perf_counter()
    lines = after = 0
    while piece := spool.ledger.read(after=after):
        lines, after = lines + len(piece), piece[-1].number
    read = time.perf_counter() - began
    counts = spool.ledger.counts()
    print(json.dumps({"put": put, "again": again, "ack": ack, "read": read, "lines": lines, "grown_kb": rss() - before,
                      "deleted": counts.deleted, "repeats": counts.repeats}))
"""
_FILL = """
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers LIMIT ?)
INSERT INTO ledger(key, digest, source, id, taken_at, state, changed_at)
SELECT random(), randomblob(8), '/eaves/site/camera', lower(hex(randomblob(16))), 1e9 + n, 1, 1e9 + n FROM numbers
"""


def agree(path: Path) -> dict[str, str]:
    """The state of each line, after a check that the entries say the same."""
    with Spool(path) as spool:
        assert spool.ledger is not None
        found: dict[str, str] = {line.id: line.state for line in spool.ledger.read(limit=1_000_000)}
        lanes = [lane.lane for lane in spool.lanes()]
        waiting = {entry.event.id for lane in lanes for entry in spool.peek(lane, limit=1_000_000, now=2e9)}
        dead = {letter.entry.event.id for letter in spool.dead(limit=1_000_000)}
    assert {event_id for event_id, state in found.items() if state == "queued"} == waiting
    assert {event_id for event_id, state in found.items() if state == "dead"} == dead
    return found


@pytest.mark.parametrize("lines", [1, 40])
def test_kill_9_while_batches_are_put_leaves_whole_batches_with_their_lines(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "spool.db"
    acknowledged = killed_after(PUT_BATCHES, path, lines)
    found = agree(path)
    assert len(found) % 20 == 0, "a batch is stored whole or not at all"
    assert {str(int(first) + offset) for first in acknowledged for offset in range(20)} <= set(found)


def test_kill_9_while_it_drains_leaves_lines_that_say_what_was_done(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with Spool(path, ledger=LedgerLimits()) as spool:
        spool.put_many([(Event(id=str(number), source="/s", type="t"), ("out",)) for number in range(2_000)])
    said = [line.split() for line in killed_after(DRAIN, path, 60)]
    found = agree(path)
    assert len(found) == 2_000
    for state, *event_ids in said:
        assert {found[event_id] for event_id in event_ids} == {state}


def test_kill_9_while_a_ledger_is_made_leaves_none_or_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with Spool(path) as spool:
        spool.put_many([(Event(id=str(number), source="/s", type="t"), ("out",)) for number in range(3_000)])
    for delay_s in (0.0, 0.01, 0.03, 0.1):
        command = [sys.executable, "-c", "from tests.integration.spool.test_ledger_kill import make_ledger as m; m()"]
        with subprocess.Popen([*command, str(path)], cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay_s)  # kills at some moment: nothing is waited for
            process.send_signal(signal.SIGKILL)
    with contextlib.closing(sqlite3.connect(path)) as db:
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE name LIKE 'ledger%'")}
    assert tables == set() or "ledger_delivery_out" in tables
    with Spool(path, ledger=LedgerLimits()) as spool:
        spool.put(Event(id="one more", source="/s", type="t"))
    assert len(agree(path)) == 3_001


def make_ledger() -> None:
    """Open the spool of the first argument with a ledger; said before, so that it can be killed while it does it."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    Spool(Path(sys.argv[1]), ledger=LedgerLimits()).close()


def measure(path: Path, lines: int, max_entries: int) -> dict[str, float]:
    """Times in seconds of one batch of 100 with a ledger of so many lines, and what a process grew by, in a process."""
    with Spool(path, ledger=LedgerLimits()):
        pass
    with contextlib.closing(sqlite3.connect(path)) as db:
        if lines:
            db.execute(_FILL, (lines,))
        db.commit()
    command = [sys.executable, "-c", MEASURE, str(path), str(max_entries)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=120)
    found: dict[str, float] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_a_million_lines_slow_nothing_down_and_take_no_memory(tmp_path: Path) -> None:
    small = measure(tmp_path / "small.db", 0, 2_000_000)
    large = measure(tmp_path / "large.db", 1_000_000, 2_000_000)
    sys.stdout.write(f"{small}\n{large}\n")
    assert large["lines"] == 1_001_000
    assert large["repeats"] == 1_000
    assert large["read"] < 30
    assert large["grown_kb"] < 40_000
    for what in ("put", "again", "ack"):
        assert large[what] < 6 * small[what] + 0.1, f"{what}: {large[what]:.4f} s against {small[what]:.4f} s"


@pytest.mark.slow
def test_a_full_ledger_lets_the_oldest_lines_go_as_new_ones_come(tmp_path: Path) -> None:
    full = measure(tmp_path / "full.db", 200_000, 200_000)
    assert full["lines"] <= 200_000
    assert full["deleted"] >= 1_000
    assert full["put"] < 1.0


def test_a_file_that_cannot_grow_refuses_a_batch_and_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    script = OPEN + (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))\n"
        "number = 0\n"
        "try:\n"
        "    while True:\n"
        "        spool.put_many([(image(str(number + one), 500), ('a',)) for one in range(20)], once=True)\n"
        "        say(str(number))\n"
        "        number += 20\n"
        "except SpoolError as error:\n"
        "    say('full')\n"
        "    spool.close()\n"
    )
    *acknowledged, last = lines_of(script, path)
    assert last == "full"
    assert len(agree(path)) == 20 * len(acknowledged)
