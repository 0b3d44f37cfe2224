"""What was sent is remembered in bounded memory, on disk for as long as it is needed, and never longer."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from eaves.errors import SpoolError
from eaves.sources.sent_images import SentImages
from eaves.spool import Spool
from tests.fakes.clock import ManualClock
from tests.fakes.sources.sent_index import DictIndex
from tests.sources.folders import running

DAY_S = 86_400.0
WEEK_S = 7 * DAY_S


def identity(number: int) -> str:
    return f"{number:032x}"


def make(index: DictIndex, clock: ManualClock, limit: int = 1000, max_present: int = 10_000) -> SentImages:
    return SentImages(index, "/s", limit=limit, max_present=max_present, remember_s=WEEK_S, clock=clock)


def scanned(sent: SentImages, *numbers: int) -> None:
    sent.begin_scan()
    for number in numbers:
        sent.find(identity(number))
    sent.end_scan()


def test_files_that_left_the_folder_are_forgotten_in_memory_at_the_next_scan() -> None:
    clock = ManualClock()
    sent = make(DictIndex(clock), clock)
    for number in range(5):
        sent.add(identity(number))
    scanned(sent, 1, 3)
    assert len(sent) == 2
    assert [number for number in range(5) if identity(number) in sent] == [1, 3]


def test_a_file_sent_during_a_scan_is_kept_though_the_scan_did_not_find_it() -> None:
    clock = ManualClock()
    sent = make(DictIndex(clock), clock)
    sent.begin_scan()
    sent.add(identity(1))
    assert identity(1) in sent
    sent.end_scan()
    assert identity(1) in sent


def test_a_scan_that_did_not_see_everything_forgets_nothing() -> None:
    clock = ManualClock()
    index = DictIndex(clock)
    sent = make(index, clock)
    for number in range(5):
        sent.add(identity(number))
    sent.begin_scan()
    sent.find(identity(1))
    sent.abort_scan()
    assert all(identity(number) in sent for number in range(5))
    assert index.forgotten == 0


def test_beyond_the_limit_the_index_is_asked() -> None:
    clock = ManualClock()
    index = DictIndex(clock)
    sent = make(index, clock, limit=2)
    for number in range(4):
        index.put(identity(number))
        sent.add(identity(number))
    assert len(sent) == 2
    for _ in range(3):
        scanned(sent, 0, 1, 2, 3)
        assert all(identity(number) in sent for number in range(4))
        assert identity(9) not in sent
    assert len(sent) == 2
    assert {int(one, 16) for one in index.asked} == {2, 3, 9}


def test_a_file_that_stays_is_never_forgotten_and_one_that_left_is_after_a_week() -> None:
    clock = ManualClock()
    index = DictIndex(clock)
    sent = make(index, clock)
    for number in (1, 2):
        index.put(identity(number))
    clock.turn(60)
    days_until_forgotten = 0
    for day in range(30):
        scanned(sent, 1)
        scanned(sent, 1)  # the second one of a day marks nothing
        assert identity(1) in index.times
        if identity(2) in index.times:
            days_until_forgotten = day + 1
        clock.turn(DAY_S)
    assert days_until_forgotten == 7
    assert len(index.batches) == index.forgotten == 30


def test_nothing_is_forgotten_before_everything_found_is_marked() -> None:
    """The clock jumps from 2023 to 2024, as when a machine without a battery finds a time server."""
    clock = ManualClock()
    index = DictIndex(clock)
    index.put(identity(1))
    clock.turn(365 * DAY_S)
    sent = make(index, clock)
    sent.begin_scan()
    sent.find(identity(1))
    assert index.forgotten == 0
    sent.end_scan()
    assert list(index.times) == [identity(1)]


def test_a_folder_is_full_before_the_index_would_drop_what_is_in_it() -> None:
    clock = ManualClock()
    sent = make(DictIndex(clock), clock, max_present=5)
    for number in range(4):
        sent.add(identity(number))
    assert not sent.full
    sent.add(identity(4))
    assert sent.full
    scanned(sent, 0, 1, 2, 3, 4)
    assert sent.full
    scanned(sent, 0, 1)
    assert not sent.full
    scanned(sent, 0, 1, 2, 3, 4, 5)
    assert sent.full


def test_files_are_marked_before_as_many_others_are_sent_as_the_index_holds() -> None:
    """This source, or others of the agent that share the index, send the files."""
    clock = ManualClock()
    index = DictIndex(clock)
    sent = make(index, clock, max_present=10)
    scanned(sent, 1, 2)
    for number in range(10, 14):
        index.put(identity(number))
    scanned(sent, 1, 2)
    assert index.batches == [2]
    index.put(identity(14))
    scanned(sent, 1, 2)
    assert index.batches == [2, 2]
    scanned(sent, 1, 2)
    assert index.batches == [2, 2]


def test_a_mark_that_fails_is_made_by_the_next_scan() -> None:
    class Broken(DictIndex):
        def touch(self, source: str, event_ids: object) -> int:
            raise SpoolError("disk I/O error")

    clock = ManualClock()
    index = DictIndex(clock)
    sent = make(Broken(clock), clock)
    sent.begin_scan()
    sent.find(identity(1))
    with pytest.raises(SpoolError):
        sent.end_scan()
    sent.abort_scan()
    index.put(identity(1))
    sent._index = index
    scanned(sent, 1)
    assert (index.batches, index.forgotten) == ([1], 1)


def test_a_real_spool_remembers_what_it_is_reported_to(tmp_path: Path) -> None:
    clock = ManualClock()
    with Spool(tmp_path / "a.db", clock=clock) as spool, running(tmp_path, settle_s=0.0, polling=True) as run:
        sent = SentImages(spool, "/eaves/test/cam", limit=0, max_present=10, remember_s=WEEK_S, clock=clock)
        run.write("a.png")
        run.advance(5)
        (event,) = run.events
        spool.put(event, once=True)
        for _ in range(20):
            sent.begin_scan()
            sent.find(event.id)
            sent.end_scan()
            clock.turn(DAY_S)
        assert spool.seen(event.source, event.id)


def test_memory_is_as_before_after_any_number_of_files_that_came_and_went(tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    with running(folder, settle_s=0.0, known_files=200) as run:
        run.index.times = _Nothing()
        sizes = []
        tracemalloc.start()
        try:
            for _ in range(4):
                for number in range(1_500):
                    path = run.write(f"{run.counters.captured}-{number}.png")
                    run.tell(path.name)
                    if number % 100 == 99:
                        run.advance(60.0)
                        for path in folder.iterdir():
                            path.unlink()
                        run.events.clear()
                        run.index.asked.clear()
                sizes.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
        assert run.counters.captured == 6_000
    assert sizes[-1] - sizes[1] < 100_000  # 576 bytes for each file would be 1.7 MB


class _Nothing(dict[str, float]):
    """Remembers nothing, so that only the source's own memory is measured."""

    def __setitem__(self, key: str, value: float) -> None:
        pass
