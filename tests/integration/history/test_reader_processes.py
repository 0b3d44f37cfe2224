"""A history that one process writes and another one reads, at 10,000 records, and killed."""

import time
from pathlib import Path

import pytest

from eaves.history import KEEP, FileHistory, HistoryReader, RecordFilter
from tests.disks import FILL, run_on_disk
from tests.fakes.clock import START, ManualClock
from tests.fakes.console.material import build_flow
from tests.processes.script import ROOT, kill, read_line, run_script

PRELUDE = """
import pathlib, sys
from eaves.history import FileHistory, HistoryReader
from tests.fakes.console.material import build_flow, captured_event
path = pathlib.Path(sys.argv[1])
def say(text):
    print(text, flush=True)
"""

WRITE_FOR_EVER = """
flow = build_flow(1_000, with_images=False)
history = FileHistory(path)
say("ready")
while True:
    for event in flow.events:
        history.add(event)
"""
BEGIN_ON_A_FULL_DISK = """
history = FileHistory(path)
event = captured_event(1, data=b"x")
history.add(event)
pathlib.Path("filler").unlink()
history.add(event)
say(HistoryReader(path).newest())
"""
MAX_PAGE_S = 0.2
"""CPU time of one page. On the machine of docs/benchmarks.md it takes at most 8 ms."""


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> HistoryReader:
    """A history of 10,000 records of 40 sources."""
    path, clock = tmp_path_factory.mktemp("full") / "history.db", ManualClock()
    history = FileHistory(path, clock=clock)
    for event in build_flow(KEEP // 2, sources=[f"camera-{one}" for one in range(40)], with_images=False).events:
        history.add(event)
        clock.turn(1)
    history.close()
    return HistoryReader(path)


def test_each_page_of_10_000_records_is_quick(full: HistoryReader):
    filters = {
        "everything": RecordFilter(),
        "a label that nothing has": RecordFilter(label="thistle"),
        "all at once": RecordFilter(
            source="camera-7", label="rose", confidence="low", text="FRAME", since=START + 10, until=START + 9_000
        ),
    }
    slow = []
    for name, wanted in filters.items():
        for before in (None, KEEP // 2):
            start = time.thread_time()
            full.find(wanted, before=before)
            slow += [name] if time.thread_time() - start >= MAX_PAGE_S else []
    assert slow == []


def test_a_history_is_read_while_it_is_written_without_pause_and_after_kill_9(tmp_path: Path):
    path = tmp_path / "history.db"
    reader, seen = HistoryReader(path), 0
    for _ in range(2):
        with run_script(PRELUDE + WRITE_FOR_EVER, path) as writer:
            assert read_line(writer) == "ready"
            deadline = time.monotonic() + 1
            while time.monotonic() < deadline:
                for record in reader.next(after=seen, limit=500):
                    assert record.seq == seen + 1
                    seen = record.seq
                reader.find(RecordFilter(label="thistle"))
            kill(writer)
        rest = reader.next(after=seen, limit=10_000)
        assert [one.seq for one in rest] == list(range(seen + 1, seen + 1 + len(rest)))
        seen += len(rest)
    assert seen > 1_000
    assert reader.newest() == seen


@pytest.mark.disk
def test_a_history_that_begins_on_a_full_disk_is_written_once_there_is_room(tmp_path: Path):
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{PRELUDE}{BEGIN_ON_A_FULL_DISK}"
    done = run_on_disk(["-c", script, "history.db"], tmp_path, before=FILL)
    assert (done.returncode, done.stdout.strip()) == (0, "1"), done.stderr
