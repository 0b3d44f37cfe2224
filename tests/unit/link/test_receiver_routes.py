"""Room in the receiver's spool, which sites share while deliveries wait."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from eaves.errors import SpoolFullError
from eaves.events import IMAGE_CLASSIFIED, Event
from eaves.link.receiver_routes import LANE, RECOUNT_S, ReceiverIntake
from eaves.link.sites import SiteCounters
from eaves.spool import LedgerLimits, Spool, SpoolLimits
from eaves.spool.file import connect
from tests.fakes.clock import ManualClock

BYTES = 100_000


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    limits = SpoolLimits(max_bytes=20 * BYTES)
    with Spool(tmp_path / "spool.db", limits=limits, ledger=LedgerLimits(), clock=ManualClock()) as opened:
        yield opened


def event(site: str, number: int, size_bytes: int = BYTES) -> Event:
    source = f"/eaves/{site}/camera"
    return Event(id=f"{site}-{number}", source=source, type=IMAGE_CLASSIFIED, data=bytes(size_bytes))


def fill(intake: ReceiverIntake, site: str) -> int:
    """Store events of a site, one by one, until one is refused; return how many were stored."""
    for number in range(99):
        try:
            intake.store_events(site, [event(site, number)])
        except SpoolFullError:
            return number
    return 99


def test_one_site_that_fills_the_queue_leaves_room_for_others(spool: Spool):
    intake = ReceiverIntake(spool, SiteCounters())
    assert [fill(intake, site) for site in ("a", "b", "c")] == [10, 5, 2]
    assert intake.store_events("d", [event("d", 1)]).stored == 1
    with pytest.raises(SpoolFullError, match="10 events of site a wait already"):
        intake.store_events("a", [event("a", 50)])


def test_what_waits_is_counted_once_for_all_sites(tmp_path: Path):
    """Counting reads the whole queue, and no event is stored or delivered meanwhile."""
    counted: list[str] = []

    def open_traced(path: Path) -> sqlite3.Connection:
        db = connect(path)
        db.set_trace_callback(lambda sql: counted.append(sql) if "total(size_bytes)" in sql else None)
        return db

    limits = SpoolLimits(max_bytes=20 * BYTES)
    with Spool(tmp_path / "spool.db", limits=limits, ledger=LedgerLimits(), connect=open_traced) as spool:
        intake = ReceiverIntake(spool, SiteCounters())
        fill(intake, "a")
        for number in range(20):
            intake.store_events(f"s{number}", [event(f"s{number}", 0, size_bytes=1)])
    assert len(counted) == 1


def test_an_event_that_comes_again_needs_no_room(spool: Spool):
    intake = ReceiverIntake(spool, SiteCounters())
    assert [fill(intake, site) for site in ("a", "b")] == [10, 5]
    assert intake.store_events("b", [event("b", 0), event("b", 1)]).repeated == 2


def test_what_was_delivered_makes_room_again(spool: Spool):
    intake = ReceiverIntake(spool, SiteCounters())
    assert (fill(intake, "a"), fill(intake, "b")) == (10, 5)
    spool.ack_many(spool.peek(LANE, limit=4))
    clock = spool.clock
    assert isinstance(clock, ManualClock)
    clock.turn(RECOUNT_S + 1)
    assert intake.store_events("a", [event("a", 50)]).stored == 1


def test_a_receiver_of_one_site_gives_it_all_of_its_room(spool: Spool):
    assert fill(ReceiverIntake(spool, SiteCounters(), lambda: False), "a") == 19
