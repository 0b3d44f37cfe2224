"""A ledger over months: lines beyond its bounds, sites, ignored lanes, openings."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from eaves.spool import LedgerLimits, Selection, Spool
from eaves.spool.admin import drop
from eaves.spool.ledger_schema import SITE, site_of
from tests.fakes.clock import FrozenClock
from tests.unit.spool.ledger.lines import BOUND, NOW, image, ledger_of, lines, states


def test_beyond_their_number_the_oldest_lines_of_events_that_left_are_deleted(path: Path) -> None:
    with Spool(path, ledger=LedgerLimits(max_entries=4)) as spool:
        for number in range(4):
            spool.put(image(number), once=True)
        first, second, third, _ = spool.peek("out", limit=9)
        spool.ack(second)
        spool.dead_letter(first, "answered 422", 422)
        spool.ack(third)
        spool.put_many([(image(number), ("out",)) for number in (4, 5)], once=True)
        assert list(states(spool)) == ["id-0", "id-3", "id-4", "id-5"]
        assert ledger_of(spool).counts().deleted == 2
        spool.put_many([(image(number), ("out",)) for number in range(6, 9)], once=True)
        assert len(lines(spool)) == 7, "lines of events that are in the spool are never deleted"
        assert ledger_of(spool).counts().deleted == 2
        assert spool.put(image(1), once=True), "its line is gone, so it is taken as new"
        assert [line.number for line in lines(spool)] == [1, 4, 5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize(
    ("source", "site"),
    [
        ("/eaves/mill/gate", "mill"),
        ("/eaves/mill/", "mill"),
        ("/eaves/mill", ""),
        ("/eaves//x", ""),
        ("/eavesx/a/b", ""),
        ("eaves/a/b", ""),
        ("", ""),
        ("/Eaves/a/b", ""),
        ("https://a/eaves/b", ""),
        ("/eaves/ü/x/y", "ü"),
    ],
)
def test_sql_and_python_find_the_same_site_in_a_source(source: str, site: str) -> None:
    assert site_of(source) == site
    with closing(sqlite3.connect(":memory:")) as db:
        assert db.execute(f"SELECT {SITE.format('?1')}", (source,)).fetchone() == (site,)


def test_the_first_line_of_a_reading_says_how_many_were_deleted(path: Path) -> None:
    with Spool(path, ledger=LedgerLimits(max_entries=4)) as spool:
        for number in range(9):
            spool.put(image(number), once=True)
            spool.ack_many(spool.peek("out", limit=9))
        assert [(line.number, line.deleted) for line in lines(spool)] == [(6, 5), (7, None), (8, None), (9, None)]
        assert [line.deleted for line in ledger_of(spool).read(after=7)] == [5, None]
        assert [line.deleted for line in ledger_of(spool).read(source_prefix="/eaves/site/")] == [None] * 4


def test_a_lane_that_is_ignored_changes_no_line(path: Path) -> None:
    bound = LedgerLimits(ignored_lanes=("broker",))
    with Spool(path, ledger=bound) as spool:
        for number in range(3):
            spool.put(image(number), lanes=("archive", "broker"), once=True)
        for_link, for_broker = (spool.peek(lane, limit=9) for lane in ("archive", "broker"))
        spool.dead_letter(for_broker[0], "answered 400", 400)
        spool.ack(for_broker[1])
        assert set(states(spool).values()) == {"queued"}, "the Broker's copy says nothing of the link"
        spool.ack_many(for_link[:2])
        spool.dead_letter(for_link[2], "answered 403", 403)
        assert list(states(spool).values()) == ["released", "released", "dead"]
        drop(spool, Selection(lane="broker"))
        assert list(states(spool).values()) == ["released", "released", "dead"]
        drop(spool, Selection(lane="archive"))
        assert list(states(spool).values()) == ["released", "released", "removed"]
    with Spool(path) as spool:
        spool.put(image(7), lanes=("archive", "broker"))
        spool.ack_many(spool.peek("archive"))
        assert states(spool)["id-7"] == "released", "the file says which lanes are ignored"


def test_a_lowered_bound_is_reached_step_by_step(path: Path) -> None:
    with Spool(path, ledger=BOUND) as spool:
        spool.put_many([(image(number), ("out",)) for number in range(50)])
        spool.ack_many(spool.peek("out", limit=99))
    with Spool(path, ledger=LedgerLimits(max_entries=10)) as spool:
        spool.put(image(99))
        assert len(lines(spool)) == 10
        assert ledger_of(spool).counts().deleted == 41


def test_a_spool_that_had_none_begins_with_what_waits(path: Path) -> None:
    with Spool(path, clock=FrozenClock(NOW)) as spool:
        for number in range(3):
            spool.put(image(number), once=True, lanes=("a", "b"))
        entries = spool.peek("a", limit=9)
        spool.ack_many([entries[0], spool.peek("b")[0]])
        for lane in ("a", "b"):
            spool.dead_letter(spool.peek(lane)[0], "answered 422", 422)
    with Spool(path, ledger=BOUND, clock=FrozenClock(NOW)) as spool:
        assert states(spool) == {"id-1": "dead", "id-2": "queued"}
        assert [(line.reason, line.taken_at) for line in lines(spool)] == [("answered 422", NOW), ("", NOW)]
        assert not spool.put(image(0), once=True), "it left before, and is still remembered"
        assert not spool.put(image(2), once=True)
        drop(spool, Selection(lane="a"))
        drop(spool, Selection(lane="b"))
        assert states(spool) == {"id-1": "removed", "id-2": "removed"}


@pytest.mark.parametrize(
    "change", ["state = 9", "state = 'x'", "digest = 'x'", "id = x'ff00'", "taken_at = 'x'", "repeats = -1.5"]
)
def test_a_line_that_damage_has_changed_ends_no_reading(spool: Spool, change: str) -> None:
    spool.put_many([(image(number), ("out",)) for number in range(3)])
    spool.database().commit(lambda db: db.execute(f"UPDATE ledger SET {change} WHERE number = 2"))
    found = lines(spool)
    assert [line.number for line in found] == [1, 2, 3]
    if change.startswith(("state", "digest")):
        assert (found[1].state, found[1].reason) == ("lost", "the line is damaged")
