"""The ledger across kill -9: after it every line says what the queue says, and no acknowledged event is without one."""

import contextlib
import sqlite3
import time
from pathlib import Path

from eaves.events import Event
from eaves.spool import LedgerLimits, Spool
from tests.processes.script import read_line, run_script

MAKE = """
import sys
from pathlib import Path
from eaves.spool import LedgerLimits, Spool
print("ready", flush=True)
Spool(Path(sys.argv[1]), ledger=LedgerLimits()).close()
"""
"""Opens a spool with a ledger; said before, so that it can be killed while it does it."""


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


def test_kill_9_while_a_ledger_is_made_leaves_none_or_all_of_it(tmp_path: Path):
    path = tmp_path / "spool.db"
    with Spool(path) as spool:
        spool.put_many([(Event(id=str(number), source="/s", type="t"), ("out",)) for number in range(3_000)])
    for delay_s in (0.0, 0.01, 0.03, 0.1):
        with run_script(MAKE, path) as process:
            assert read_line(process) == "ready"
            time.sleep(delay_s)  # killed at some moment: nothing is waited for
    with contextlib.closing(sqlite3.connect(path)) as db:
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE name LIKE 'ledger%'")}
    assert tables == set() or "ledger_delivery_out" in tables
    with Spool(path, ledger=LedgerLimits()) as spool:
        spool.put(Event(id="one more", source="/s", type="t"))
    assert len(agree(path)) == 3_001
