"""What a spool lets go, and what it never does: the dead letters' budget and the ids it remembers."""

import json
import logging
from pathlib import Path

import pytest

from eaves.errors import SpoolFullError
from eaves.events import Event
from eaves.spool import Spool, SpoolLimits, WhenFull
from eaves.spool.limits import DAY_S
from tests.fakes.clock import ManualClock
from tests.unit.spool.entries import image, run

SIZE = 1000


def sized(number: int) -> Event:
    """An image of `SIZE` bytes with its attributes."""
    name = f"id-{number:03}"
    return image(id=name, size_bytes=SIZE - len(json.dumps(image(id=name).attributes())))


def kill(spool: Spool, number: int) -> None:
    """Put one image and have it refused."""
    spool.put(sized(number))
    [entry] = spool.peek("out", limit=1)
    spool.dead_letter(entry, f"answered 422: number {number}", 422)


def dead_ids(spool: Spool) -> list[str]:
    return [letter.entry.event.id for letter in spool.dead()]


def test_beyond_their_bytes_the_oldest_dead_letters_expire_counted_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with (
        caplog.at_level(logging.WARNING),
        Spool(tmp_path / "spool.db", limits=SpoolLimits(dead_max_bytes=3 * SIZE)) as spool,
    ):
        for number in range(5):
            kill(spool, number)
        assert dead_ids(spool) == ["id-002", "id-003", "id-004"]
        assert (spool.expired(), spool.dead_bytes()) == (2, 3 * SIZE)
    reported = [record.getMessage() for record in caplog.records]
    assert len(reported) == 2
    assert "id-000" in reported[0]
    assert "answered 422: number 0" in reported[0]
    assert "id-001" in reported[1]


def test_the_newest_dead_letter_is_kept_even_when_it_alone_exceeds_the_budget(tmp_path: Path):
    with Spool(tmp_path / "spool.db", limits=SpoolLimits(dead_max_bytes=SIZE // 2)) as spool:
        for number in (1, 2):
            kill(spool, number)
            assert dead_ids(spool) == [f"id-{number:03}"]


def test_dead_letters_expire_by_age_while_nothing_else_happens(tmp_path: Path):
    clock = ManualClock()
    with Spool(tmp_path / "spool.db", limits=SpoolLimits(dead_max_age_s=30 * DAY_S), clock=clock) as spool:
        kill(spool, 1)
        clock.turn(20 * DAY_S)
        kill(spool, 2)
        clock.turn(9 * DAY_S)
        spool.keep_limits()
        assert dead_ids(spool) == ["id-001", "id-002"]
        clock.turn(2 * DAY_S)
        spool.keep_limits()
        assert dead_ids(spool) == ["id-002"]
        clock.set_back(-25 * DAY_S)
        spool.keep_limits()
        assert dead_ids(spool) == ["id-002"], "it looks once a minute"
        assert spool.expired() == 1


@pytest.mark.parametrize("start", [0.0, 4_000_000_000.0], ids=["1970", "2096"])
def test_dead_letters_of_a_clock_that_was_wrong_are_neither_kept_for_ever_nor_gone_at_once(
    tmp_path: Path, start: float
):
    clock = ManualClock(start)
    with Spool(tmp_path / "spool.db", limits=SpoolLimits(dead_max_bytes=3 * SIZE), clock=clock) as spool:
        kill(spool, 1)
        kill(spool, 2)
        clock.set_back(start - 1_800_000_000.0)
        clock.turn(61)
        spool.keep_limits()
        assert dead_ids(spool) == ["id-001", "id-002"]
        for number in (3, 4, 5):
            clock.turn(1)
            kill(spool, number)
        assert dead_ids(spool) == ["id-003", "id-004", "id-005"]
        clock.turn(31 * DAY_S)
        spool.keep_limits()
        assert dead_ids(spool) == []


def test_with_refuse_nothing_expires_and_the_entry_stays_queued(tmp_path: Path):
    limits = SpoolLimits(dead_max_bytes=2 * SIZE, dead_when_full=WhenFull.REFUSE)
    with Spool(tmp_path / "spool.db", limits=limits) as spool:
        kill(spool, 1)
        kill(spool, 2)
        with pytest.raises(SpoolFullError, match="the limit for dead letters is reached") as refused:
            kill(spool, 3)
        assert refused.value.hint is not None
        assert dead_ids(spool) == ["id-001", "id-002"]
        assert [entry.event.id for entry in spool.peek("out", limit=9)] == ["id-003"]
        assert spool.expired() == 0
    lowered = SpoolLimits(dead_max_bytes=SIZE // 2, dead_when_full=WhenFull.REFUSE, dead_max_age_s=DAY_S)
    clock = ManualClock()
    with Spool(tmp_path / "spool.db", limits=lowered, clock=clock) as spool:
        run(spool, "UPDATE deliveries SET died_at = 1600000000 WHERE seq = 1")
        spool.keep_limits()
        assert dead_ids(spool) == ["id-002"], "age lets them expire all the same"


def test_a_clock_that_is_set_back_lets_no_new_id_be_forgotten_first(tmp_path: Path):
    clock = ManualClock()
    with Spool(tmp_path / "spool.db", limits=SpoolLimits(seen_max_entries=10), clock=clock) as spool:
        for number in range(10):
            clock.turn(1)
            spool.put(sized(number), once=True, lanes=())
        clock.set_back(365 * DAY_S)
        spool.touch("/eaves/site/camera", ["id-000"])
        for number in range(10, 15):
            spool.put(sized(number), once=True, lanes=())
        kept = [spool.seen("/eaves/site/camera", f"id-{number:03}") for number in (1, 2, 3, 4, 5)]
        assert kept == [False] * 5
        assert spool.remembered() == 10


def test_ids_are_forgotten_by_age_unless_they_were_touched(tmp_path: Path):
    clock = ManualClock()
    with Spool(tmp_path / "spool.db", clock=clock) as spool:
        for number in range(3):
            spool.put(sized(number), once=True, lanes=())
        clock.turn(DAY_S)
        assert spool.touch("/eaves/site/camera", ["id-001", "id-never"]) == 1
        spool.put(sized(3), once=True, lanes=())
        assert spool.forget("/eaves/site/other", clock.now() - 1) == 0
        assert spool.forget("/eaves/site/camera", clock.now() - 1) == 2
        known = [spool.seen("/eaves/site/camera", f"id-{number:03}") for number in range(4)]
        assert known == [False, True, False, True]


def test_what_options_left_out_is_known_while_the_options_are_the_same_and_until_it_is_put(tmp_path: Path):
    source = "/eaves/site/camera"
    with Spool(tmp_path / "spool.db", clock=ManualClock()) as spool:
        spool.remember(source, ["id-000"], options=b"night")
        assert spool.seen(source, "id-000", options=b"night")
        assert not spool.seen(source, "id-000", options=b"day")
        assert not spool.seen(source, "id-000")
        assert spool.put(sized(0), once=True)
        assert spool.seen(source, "id-000", options=b"night")
        spool.remember(source, ["id-000"], options=b"night")
        assert spool.seen(source, "id-000"), "what was put stays known"
        assert not spool.put(sized(0), once=True)
