"""The ledger across kill -9: after it every line says what the queue says, and no acknowledged event is without one."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eaves.events import Event
from eaves.spool import LedgerLimits, Spool
from tests.integration.spool.test_kill import ROOT, killed_after

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
while entries := spool.peek("out", limit=7, max_bytes=1 << 20):
    if round % 3 == 2:
        spool.dead_letter(entries[0], "answered 422", 422)
        say("dead " + entries[0].event.id)
    else:
        spool.ack_many(entries)
        say("released " + " ".join(entry.event.id for entry in entries))
    round += 1
"""
)


def agree(path: Path) -> dict[str, str]:
    """The state of each line, after a check that the entries say the same."""
    with Spool(path) as spool:
        assert spool.ledger is not None
        found: dict[str, str] = {line.id: line.state for line in spool.ledger.read(limit=1_000_000)}
        lanes = [lane.lane for lane in spool.lanes()]
        waiting = {entry.event.id for lane in lanes for entry in spool.peek(lane, limit=1_000_000)}
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
