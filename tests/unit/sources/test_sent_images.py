"""What was sent is remembered in bounded memory, on disk for as long as it is needed, and never longer."""

from pathlib import Path

from eaves.sources.context import SentIndex
from eaves.sources.sent_images import SentImages
from eaves.spool import Spool, SpoolLimits
from tests.fakes.clock import ManualClock
from tests.fakes.sources.sent_index import DictIndex
from tests.sources.contexts import build_context

DAY_S = 86_400.0


def identity(number: int) -> str:
    return f"{number:032x}"


def make(index: SentIndex, clock: ManualClock, limit: int = 1000, max_present: int = 10_000) -> SentImages:
    return SentImages(build_context(index=index, clock=clock), limit=limit, max_present=max_present)


def scanned(sent: SentImages, *numbers: int) -> None:
    sent.begin_scan()
    for number in numbers:
        sent.find(identity(number))
    sent.end_scan()


def test_files_that_left_the_folder_are_forgotten_in_memory_at_the_next_scan():
    clock = ManualClock()
    sent = make(DictIndex(clock), clock)
    for number in range(5):
        sent.add(identity(number))
    scanned(sent, 1, 3)
    assert len(sent) == 2
    assert [number for number in range(5) if identity(number) in sent] == [1, 3]


def test_a_file_sent_during_a_scan_is_kept_though_the_scan_did_not_find_it():
    clock = ManualClock()
    sent = make(DictIndex(clock), clock)
    sent.begin_scan()
    sent.add(identity(1))
    assert identity(1) in sent
    sent.end_scan()
    assert identity(1) in sent


def test_a_scan_that_did_not_see_everything_forgets_nothing():
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


def test_beyond_the_limit_the_index_is_asked():
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


def test_a_file_that_stays_is_never_forgotten_and_one_that_left_is_after_a_week():
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


def test_a_folder_is_full_before_the_index_would_drop_what_is_in_it():
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


def test_a_busy_camera_beside_a_folder_displaces_none_of_its_images(tmp_path: Path):
    clock = ManualClock()
    with Spool(tmp_path / "spool.db", limits=SpoolLimits(seen_max_entries=40), clock=clock) as spool:
        sent, source = make(spool, clock, max_present=10), build_context().source
        present = [identity(number) for number in range(10)]
        spool.remember(source, present)
        for second in range(200):
            spool.remember("/eaves/test/other", [identity(second)])
            clock.turn(1)
            if second % 5 == 0:
                scanned(sent, *range(10))
        assert spool.remembered() == 40
        assert all(spool.seen(source, one) for one in present), "after a restart, they would be sent again"


def test_images_are_marked_again_when_many_ids_were_added_and_not_before():
    clock = ManualClock()
    index = DictIndex(clock)
    sent = make(index, clock, max_present=10)
    for added, marks in ((0, 1), (4, 1), (1, 2), (0, 2)):
        for number in range(added):
            index.put(identity(100 * index.added + number))
        scanned(sent, 1, 2)
        assert len(index.batches) == marks
