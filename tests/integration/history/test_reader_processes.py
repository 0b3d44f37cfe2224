"""A history that one process writes and another one reads, at 10,000 records, killed and replaced."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from eaves.events import IMAGE_CLASSIFIED
from eaves.history import KEEP, FileHistory, HistoryReader, Record, RecordFilter
from tests.disks import FILL, run_on_disk
from tests.fakes.clock import START, ManualClock
from tests.fakes.console.material import build_flow
from tests.integration.history.processes import PRELUDE, ROOT, kill, read_line, running, write_line
from tests.waiting import wait_until

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
WRITE_ON_DEMAND = """
flow = build_flow(1_000, with_images=False)
history = FileHistory(path)
for event, line in zip(flow.events, sys.stdin):
    history.add(event)
    say(line.strip())
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


PAGES: dict[str, RecordFilter] = {
    "everything": RecordFilter(),
    "a common label": RecordFilter(label="rose"),
    "a label that nothing has": RecordFilter(label="thistle"),
    "a source": RecordFilter(source="camera-39"),
    "a source that nothing has": RecordFilter(source="camera-40"),
    "low confidence": RecordFilter(types=(IMAGE_CLASSIFIED,), confidence="low"),
    "an hour long ago": RecordFilter(since=START, until=START + 3_600),
    "a text": RecordFilter(text="frame-77"),
    "all at once": RecordFilter(
        source="camera-7", label="rose", confidence="low", text="FRAME", since=START + 10, until=START + 9_000
    ),
}


@pytest.mark.parametrize("wanted", PAGES.values(), ids=PAGES)
def test_each_page_of_10_000_records_is_quick(full: HistoryReader, wanted: RecordFilter) -> None:
    before, took = None, []
    while True:
        start = time.thread_time()
        page = full.find(wanted, before=before)
        took.append(time.thread_time() - start)
        if not page or len(took) > 30:
            break
        before = page[-1].seq
    assert max(took) < MAX_PAGE_S


def test_what_a_page_asks_besides_is_quick(full: HistoryReader) -> None:
    page = full.find(RecordFilter(types=(IMAGE_CLASSIFIED,)), before=1_000)
    steps: dict[str, Callable[[], object]] = {
        "causes": lambda: full.causes(page),
        "chain": lambda: full.chain(page[0]),
        "newest of each source": full.by_source,
        "labels": full.labels,
    }
    assert len(full.causes(page)) == 50
    for name, step in steps.items():
        start = time.thread_time()
        step()
        assert time.thread_time() - start < MAX_PAGE_S, name


def test_records_of_another_process_are_seen_at_once_and_none_is_missed(tmp_path: Path) -> None:
    reader = HistoryReader(tmp_path / "history.db")
    with running(WRITE_ON_DEMAND, tmp_path / "history.db") as writer:
        for number in range(1, 30):
            write_line(writer, str(number))
            assert read_line(writer) == str(number)
            assert (reader.newest(), [one.seq for one in reader.next(after=number - 1, limit=9)]) == (number, [number])


def test_a_history_is_read_while_it_is_written_without_pause_and_after_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    reader, seen = HistoryReader(path), 0
    for _ in range(2):
        with running(WRITE_FOR_EVER, path) as writer:
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


def test_a_damaged_history_is_replaced_by_its_writer_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    reader = HistoryReader(path)
    with running(WRITE_ON_DEMAND, path) as writer:
        for number in range(1, 20):
            write_line(writer, str(number))
            read_line(writer)
        assert reader.newest() == 19
        kill(writer)
    path.write_bytes(path.read_bytes()[:100] + bytes(path.stat().st_size - 100))
    for suffix in ("-wal", "-shm"):
        path.with_name(f"history.db{suffix}").unlink()
    with running(WRITE_ON_DEMAND, path) as writer:
        write_line(writer, "again")
        assert read_line(writer) == "again"
        found: list[Record] = wait_until(lambda: list(reader.next(after=0, limit=5)))
        assert [one.seq for one in found] == [1]
        assert reader.newest() == 1
    assert path.with_name("history.db.damaged").exists()


@pytest.mark.disk
def test_a_history_that_begins_on_a_full_disk_is_written_once_there_is_room(tmp_path: Path) -> None:
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{PRELUDE}{BEGIN_ON_A_FULL_DISK}"
    done = run_on_disk(["-c", script, "history.db"], tmp_path, before=FILL)
    assert (done.returncode, done.stdout.strip()) == (0, "1"), done.stderr
