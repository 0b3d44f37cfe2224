"""The ledger of a spool: one line an event, in the same commit as its entry, whatever becomes of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eaves.errors import SpoolError, SpoolFullError
from eaves.events import IMAGE_CAPTURED, REPLY_TYPES, Event
from eaves.spool import (
    Ledger,
    LedgerLimits,
    LedgerLine,
    PutOutcome,
    Selection,
    Spool,
    SpoolLimits,
    WhenFull,
    content_digest,
)
from eaves.spool.admin import drop, redrive
from eaves.spool.ledger.schema import SITE, insert_lost, site_of
from eaves.spool.takeover import take_over
from tests.fakes.clock import FrozenClock

NOW = 1_000_000.0
BOUND = LedgerLimits(max_entries=1_000)


def image(number: int, data: bytes = b"x", source: str = "/eaves/site/camera") -> Event:
    return Event(id=f"id-{number}", source=source, type=IMAGE_CAPTURED, data=data)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


@pytest.fixture
def spool(path: Path) -> Iterator[Spool]:
    with Spool(path, ledger=BOUND, clock=FrozenClock(NOW)) as opened:
        yield opened


def ledger_of(spool: Spool) -> Ledger:
    assert spool.ledger is not None
    return spool.ledger


def lines(spool: Spool) -> list[LedgerLine]:
    return ledger_of(spool).read()


def states(spool: Spool) -> dict[str, str]:
    found: dict[str, str] = {line.id: line.state for line in lines(spool)}
    counted = ledger_of(spool).counts()
    for state in ("queued", "released", "dead", "removed", "lost"):
        assert getattr(counted, state) == list(found.values()).count(state)
    return found


def test_a_spool_has_a_ledger_only_when_one_was_asked_for(path: Path) -> None:
    with Spool(path) as spool:
        assert spool.ledger is None
        tables = {row[0] for row in spool.database().read("SELECT name FROM sqlite_master")}
        assert not {name for name in tables if "ledger" in name}
    with Spool(path, ledger=BOUND) as spool:
        assert ledger_of(spool).read() == []
    with Spool(path) as spool:
        spool.put(image(1))
        assert states(spool) == {"id-1": "queued"}, "who opens a file that has a ledger keeps it"


def test_a_line_says_when_an_event_came_and_that_it_waits(spool: Spool) -> None:
    spool.put(image(1), once=True)
    [line] = lines(spool)
    assert line == LedgerLine(
        number=1,
        source="/eaves/site/camera",
        id="id-1",
        taken_at=NOW,
        state="queued",
        changed_at=NOW,
        repeats=0,
        digest=content_digest(image(1).attributes(), image(1).data).hex(),
        deleted=0,
    )


def test_a_line_follows_its_entry(spool: Spool) -> None:
    spool.put_many([(image(number), ("out",)) for number in range(5)], once=True)
    entries = spool.peek("out", limit=9, now=NOW)
    spool.ack(entries[0])
    spool.ack_many(entries[1:2])
    spool.dead_letter(entries[2], "answered 422", 422)
    spool.retry(entries[3], NOW + 9, "no answer")
    assert states(spool) == {
        "id-0": "released",
        "id-1": "released",
        "id-2": "dead",
        "id-3": "queued",
        "id-4": "queued",
    }
    assert [line.reason for line in lines(spool)] == ["", "", "answered 422", "", ""]
    assert lines(spool)[0].changed_at > NOW, "the machine's own clock"
    redrive(spool, Selection(seqs=(entries[2].seq,)))
    assert states(spool)["id-2"] == "queued"
    assert lines(spool)[2].reason == ""
    drop(spool, Selection(seqs=(entries[3].seq,)))
    spool.dead_letter(entries[4], "answered 413", 413)
    drop(spool, Selection(seqs=(entries[4].seq,)))
    assert [states(spool)[name] for name in ("id-3", "id-4")] == ["removed", "removed"]
    assert lines(spool)[4].reason == "answered 413"


def test_a_dead_letter_that_expires_is_removed(path: Path) -> None:
    limits = SpoolLimits(dead_max_bytes=1, dead_when_full=WhenFull.EXPIRE)
    with Spool(path, limits=limits, ledger=BOUND) as spool:
        for number in range(2):
            spool.put(image(number))
            spool.dead_letter(spool.peek("out", now=2e9)[0], "answered 422", 422)
        assert states(spool) == {"id-0": "removed", "id-1": "dead"}


def test_a_dead_letter_that_may_not_be_kept_leaves_its_line(path: Path) -> None:
    limits = SpoolLimits(dead_max_bytes=1, dead_when_full=WhenFull.REFUSE)
    with Spool(path, limits=limits, ledger=BOUND) as spool:
        spool.put(image(1))
        with pytest.raises(SpoolFullError):
            spool.dead_letter(spool.peek("out", now=2e9)[0], "answered 422", 422)
        assert states(spool) == {"id-1": "queued"}


@pytest.mark.parametrize(
    ("first", "second", "state"),
    [
        ("ack", "ack", "released"),
        ("ack", "dead", "dead"),
        ("dead", "ack", "dead"),
        ("ack", "drop", "removed"),
        ("drop", "ack", "removed"),
        ("drop", "dead", "dead"),
        ("ack", "", "queued"),
        ("dead", "", "queued"),
    ],
)
def test_an_event_on_two_lanes_has_one_line(spool: Spool, first: str, second: str, state: str) -> None:
    spool.put(image(1), lanes=("a", "b"))
    for lane, what in (("a", first), ("b", second)):
        [entry] = spool.peek(lane, now=NOW)
        if what == "ack":
            spool.ack(entry)
        elif what == "dead":
            spool.dead_letter(entry, "answered 422", 422)
        elif what == "drop":
            drop(spool, Selection(seqs=(entry.seq,)))
    assert states(spool) == {"id-1": state}


def test_what_comes_again_is_counted_and_not_stored(spool: Spool) -> None:
    spool.put(image(1), once=True)
    spool.ack(spool.peek("out", now=NOW)[0])
    assert spool.put_many([(image(1), ("out",)), (image(2), ("out",)), (image(2), ("out",))], once=True) == [
        PutOutcome.REPEATED,
        PutOutcome.STORED,
        PutOutcome.REPEATED,
    ]
    assert [line.repeats for line in lines(spool)] == [1, 1]
    assert ledger_of(spool).counts().repeats == 2
    assert spool.depth() == 1
    assert spool.seen("/eaves/site/camera", "id-1")
    assert spool.remembered() == 0, "the ledger remembers; the table of ids is not written a second time"


def test_an_event_under_a_known_id_is_a_conflict_and_no_repetition(spool: Spool) -> None:
    spool.put(image(1), once=True)
    other = image(1, b"other")
    assert spool.put_many([(other, ("out",)), (image(1), ("out",))], once=True) == [
        PutOutcome.CONFLICTING,
        PutOutcome.REPEATED,
    ]
    counts = ledger_of(spool).counts()
    assert (counts.repeats, counts.conflicts) == (1, 1)
    assert ledger_of(spool).is_conflicting(other)
    assert not ledger_of(spool).is_conflicting(image(1))
    assert not ledger_of(spool).is_conflicting(image(2))
    assert spool.peek("out", now=NOW)[0].event == image(1)


@pytest.mark.parametrize("kind", sorted(REPLY_TYPES))
def test_a_reply_that_was_made_a_second_time_is_the_same_event(spool: Spool, kind: str) -> None:
    reply = replace(image(1), type=kind, data=b'{"timings": {"infer": 3.1}}', extensions={"modelversion": "1"})
    again = replace(reply, data=b'{"timings": {"infer": 4.7}}', extensions={"modelversion": "2"})
    assert spool.put(reply, once=True)
    assert spool.put_many([(again, ("out",))], once=True) == [PutOutcome.REPEATED]
    assert ledger_of(spool).is_conflicting(replace(reply, type=IMAGE_CAPTURED))


def test_an_event_can_be_kept_as_a_dead_letter_from_the_start(spool: Spool) -> None:
    spool.put(image(1), once=True)
    for _ in range(2):
        spool.put_dead([(image(1, b"other"), "out"), (image(1, b"a third"), "out")], "another event", 409)
    letters = spool.dead()
    assert [(one.entry.event.data, one.reason, one.status) for one in letters] == [
        (b"other", "another event", 409),
        (b"a third", "another event", 409),
    ]
    assert states(spool) == {"id-1": "queued"}
    assert (spool.counts(), spool.dead_bytes() > 0) == ({"out": (1, 2)}, True)
    redrive(spool, Selection())
    assert spool.counts() == {"out": (3, 0)}
    spool.ack_many(spool.peek("out", limit=9, now=NOW))
    assert states(spool) == {"id-1": "released"}


def test_a_dead_letter_from_the_start_is_within_the_budget(path: Path) -> None:
    limits = SpoolLimits(dead_max_bytes=200, dead_when_full=WhenFull.REFUSE)
    with Spool(path, limits=limits, ledger=BOUND) as spool, pytest.raises(SpoolFullError):
        spool.put_dead([(image(1), "out"), (image(2, b"x" * 300), "out")], "another event", 409)
    with Spool(path, limits=SpoolLimits(dead_max_bytes=200), ledger=BOUND) as spool:
        assert spool.counts() == {}
        spool.put_dead([(image(number), "out") for number in range(9)], "another event", 409)
        assert 0 < len(spool.dead()) < 9


def test_what_is_added_on_the_way_makes_no_other_event(spool: Spool) -> None:
    spool.put(image(1), once=True)
    again = replace(image(1), extensions={"knativearrivaltime": "2026-11-25T00:00:00Z", "traceparent": "00-1-2-00"})
    assert not ledger_of(spool).is_conflicting(again)
    assert ledger_of(spool).is_conflicting(replace(image(1), subject="other"))


def test_the_digest_tells_attributes_from_data() -> None:
    digests = {
        content_digest({"a": "1"}, b"x"),
        content_digest({"a": "1x"}, b""),
        content_digest({"a": "1"}, b""),
        content_digest({"b": "1"}, b"x"),
    }
    assert len(digests) == 4
    assert content_digest({"a": "1", "b": "2"}, b"x") == content_digest({"b": "2", "a": "1"}, b"x")
    assert {len(digest) for digest in digests} == {8}


def test_an_id_of_another_source_is_another_event(spool: Spool) -> None:
    assert spool.put(image(1, source="/eaves/site/a"), once=True)
    assert spool.put(image(1, source="/eaves/site/b"), once=True)
    assert [line.source for line in lines(spool)] == ["/eaves/site/a", "/eaves/site/b"]


@pytest.mark.parametrize("state", ["4", "9", "'x'"])
def test_an_event_that_was_lost_is_stored_when_it_comes_again(spool: Spool, state: str) -> None:
    spool.put(image(1), once=True)
    spool.ack(spool.peek("out", now=NOW)[0])
    spool.database().commit(lambda db: db.execute(f"UPDATE ledger SET state = {state}"))
    assert not spool.seen("/eaves/site/camera", "id-1")
    assert not ledger_of(spool).is_conflicting(image(1, b"other"))
    assert spool.put(image(1, b"other"), once=True)
    assert not spool.put(image(1, b"other"), once=True)
    [line] = lines(spool)
    assert (line.state, line.repeats) == ("queued", 1)
    spool.ack(spool.peek("out", now=NOW)[0])
    assert lines(spool)[0].state == "released"


def test_a_put_without_once_queues_its_line_again(spool: Spool) -> None:
    spool.put(image(1))
    spool.ack(spool.peek("out", now=NOW)[0])
    assert spool.put(image(1))
    assert states(spool) == {"id-1": "queued"}
    spool.ack(spool.peek("out", now=NOW)[0])
    assert states(spool) == {"id-1": "released"}
    assert lines(spool)[0].repeats == 1


def test_what_an_entry_turns_into_has_a_line_too(spool: Spool) -> None:
    spool.put(image(1), lanes=("in",))
    spool.ack(spool.peek("in", now=NOW)[0], puts=[(image(2), ("out",))])
    assert states(spool) == {"id-1": "released", "id-2": "queued"}


def test_a_commit_that_fails_leaves_no_line(path: Path) -> None:
    with Spool(path, ledger=BOUND, limits=SpoolLimits(max_entries=2)) as spool:
        with pytest.raises(SpoolFullError):
            spool.put_many([(image(number), ("out",)) for number in range(3)], once=True)
        assert lines(spool) == []
        assert spool.put(image(0), once=True)


def test_lines_are_read_in_pieces_and_by_source(spool: Spool) -> None:
    for number in range(6):
        spool.put(image(number, source=f"/eaves/{'ab'[number % 2]}/camera"))
    ledger = ledger_of(spool)
    assert [line.number for line in ledger.read(limit=4)] == [1, 2, 3, 4]
    assert [line.number for line in ledger.read(after=4)] == [5, 6]
    assert [line.id for line in ledger.read(source_prefix="/eaves/b/")] == ["id-1", "id-3", "id-5"]
    assert [line.id for line in ledger.read(source_prefix="/eaves/b/", after=2, limit=1)] == ["id-3"]
    assert ledger.read(source_prefix="/eaves/%/") == []


def test_beyond_their_number_the_oldest_lines_of_events_that_left_are_deleted(path: Path) -> None:
    with Spool(path, ledger=LedgerLimits(max_entries=4)) as spool:
        for number in range(4):
            spool.put(image(number), once=True)
        first, second, third, _ = spool.peek("out", limit=9, now=2e9)
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


def release_all(spool: Spool) -> None:
    while entries := spool.peek("out", limit=999, now=2e9):
        spool.ack_many(entries)


def test_what_one_site_sends_makes_a_spool_forget_nothing_of_another(path: Path) -> None:
    with Spool(path, ledger=LedgerLimits(max_entries=100)) as spool:
        quiet = [(image(number, source="/eaves/quiet/camera"), ("out",)) for number in range(30)]
        spool.put_many(quiet, once=True)
        release_all(spool)
        for start in range(0, 500, 50):
            loud = [image(number, source="/eaves/loud/camera") for number in range(start, start + 50)]
            spool.put_many([(event, ("out",)) for event in loud], once=True)
            release_all(spool)
        assert len(ledger_of(spool).read(source_prefix="/eaves/quiet/")) == 30
        assert len(ledger_of(spool).read(source_prefix="/eaves/loud/")) == 70
        assert len(lines(spool)) == 100
        assert ledger_of(spool).counts().deleted == 430
        spool.put_many(quiet, once=True)
        assert spool.depth() == 0, "they are repetitions"
        waiting = [image(number, source="/eaves/loud/camera") for number in range(1_000, 1_200)]
        spool.put_many([(event, ("out",)) for event in waiting], once=True)
        assert len(ledger_of(spool).read(source_prefix="/eaves/quiet/")) == 30, (
            "also while nothing of it can be deleted"
        )
        assert len(lines(spool)) == 230


def test_lines_of_a_site_are_found_by_an_index(path: Path) -> None:
    asked: list[str] = []
    with Spool(path, ledger=BOUND) as spool:
        database = spool.database()

        def read(sql: str, values: Sequence[Any]) -> list[Any]:
            asked.extend(row[3] for row in database.read(f"EXPLAIN QUERY PLAN {sql}", values))
            return []

        Ledger(read).read(after=5, source_prefix="/eaves/mill/")
    assert len(asked) == 1
    assert "USING INDEX ledger_by_site (<expr>=? AND rowid>?)" in asked[0]


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


def test_a_ledger_from_before_there_were_counts_by_site_gets_them(path: Path) -> None:
    with Spool(path, ledger=BOUND) as spool:
        spool.put_many([(image(number), ("out",)) for number in range(3)])
    with closing(sqlite3.connect(path)) as db:
        for name in ("TRIGGER ledger_site_in", "TRIGGER ledger_site_out", "TABLE ledger_sites"):
            db.execute(f"DROP {name}")
        for name in ("by_site", "settled"):
            db.execute(f"DROP INDEX ledger_{name}")
    with Spool(path, ledger=BOUND) as spool:
        spool.put(image(3))
        assert spool.database().read("SELECT * FROM ledger_sites") == [("site", 4)]


def test_the_first_line_of_a_reading_says_how_many_were_deleted(path: Path) -> None:
    with Spool(path, ledger=LedgerLimits(max_entries=4)) as spool:
        for number in range(9):
            spool.put(image(number), once=True)
            spool.ack_many(spool.peek("out", limit=9, now=2e9))
        assert [(line.number, line.deleted) for line in lines(spool)] == [(6, 5), (7, None), (8, None), (9, None)]
        assert [line.deleted for line in ledger_of(spool).read(after=7)] == [5, None]
        assert [line.deleted for line in ledger_of(spool).read(source_prefix="/eaves/site/")] == [None] * 4


def test_a_lane_that_is_ignored_changes_no_line(path: Path) -> None:
    bound = LedgerLimits(ignored_lanes=("broker",))
    with Spool(path, ledger=bound) as spool:
        for number in range(3):
            spool.put(image(number), lanes=("archive", "broker"), once=True)
        for_link, for_broker = (spool.peek(lane, limit=9, now=2e9) for lane in ("archive", "broker"))
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
        spool.ack_many(spool.peek("archive", now=2e9))
        assert states(spool)["id-7"] == "released", "the file says which lanes are ignored"


def test_a_ledger_that_begins_to_ignore_a_lane_says_what_the_others_say(path: Path) -> None:
    with Spool(path, ledger=BOUND) as spool:
        spool.put(image(1), lanes=("archive", "broker"))
        spool.dead_letter(spool.peek("archive", now=2e9)[0], "answered 403", 403)
        assert states(spool) == {"id-1": "queued"}
    with Spool(path, ledger=LedgerLimits(ignored_lanes=("broker",))) as spool:
        assert states(spool) == {"id-1": "dead"}


def test_what_an_earlier_release_has_put_gets_its_line_at_the_next_opening(path: Path) -> None:
    with Spool(path, ledger=BOUND) as spool:
        spool.put_many([(image(number), ("out",)) for number in range(3)], once=True)
        spool.ack_many(spool.peek("out", limit=2, now=2e9))
    with Spool(path) as spool:
        spool.ledger = None  # an earlier release has none, and the triggers in the file work for it
        spool.put_many([(image(number), ("out",)) for number in (1, 7)])
        spool.ack_many(spool.peek("out", limit=1, now=2e9))
    with Spool(path, ledger=BOUND) as spool:
        assert states(spool) == {"id-0": "released", "id-1": "queued", "id-2": "released", "id-7": "queued"}
        assert not spool.put(image(7), once=True)
        spool.ack_many(spool.peek("out", limit=9, now=2e9))
        assert set(states(spool).values()) == {"released"}
    before = path.stat().st_mtime_ns
    with Spool(path, ledger=BOUND):
        pass
    assert path.stat().st_mtime_ns == before, "nothing is missing, so nothing is written"


def test_an_event_that_is_there_twice_keeps_its_one_line(path: Path) -> None:
    with Spool(path, ledger=BOUND) as spool:
        for _ in range(2):
            spool.put(image(1))
    with Spool(path, ledger=BOUND) as spool:
        assert states(spool) == {"id-1": "queued"}


def test_a_lowered_bound_is_reached_step_by_step(path: Path) -> None:
    with Spool(path, ledger=BOUND) as spool:
        spool.put_many([(image(number), ("out",)) for number in range(50)])
        spool.ack_many(spool.peek("out", limit=99, now=2e9))
    with Spool(path, ledger=LedgerLimits(max_entries=10)) as spool:
        spool.put(image(99))
        assert len(lines(spool)) == 10
        assert ledger_of(spool).counts().deleted == 41


def test_a_spool_that_had_none_begins_with_what_waits(path: Path) -> None:
    with Spool(path, clock=FrozenClock(NOW)) as spool:
        for number in range(3):
            spool.put(image(number), once=True, lanes=("a", "b"))
        entries = spool.peek("a", limit=9, now=NOW)
        spool.ack_many([entries[0], spool.peek("b", now=NOW)[0]])
        for lane in ("a", "b"):
            spool.dead_letter(spool.peek(lane, now=NOW)[0], "answered 422", 422)
    with Spool(path, ledger=BOUND, clock=FrozenClock(NOW)) as spool:
        assert states(spool) == {"id-1": "dead", "id-2": "queued"}
        assert [(line.reason, line.taken_at) for line in lines(spool)] == [("answered 422", NOW), ("", NOW)]
        assert not spool.put(image(0), once=True), "it left before, and is still remembered"
        assert not spool.put(image(2), once=True)
        assert not ledger_of(spool).is_conflicting(image(2))
        assert ledger_of(spool).is_conflicting(image(2, b"other"))
        drop(spool, Selection(lane="a"))
        drop(spool, Selection(lane="b"))
        assert states(spool) == {"id-1": "removed", "id-2": "removed"}


def test_a_ledger_that_could_not_be_made_is_made_the_next_time(path: Path) -> None:
    with Spool(path) as spool:
        spool.put(image(1))

    class Failing(sqlite3.Connection):
        def execute(self, sql: str, parameters: object = (), /) -> sqlite3.Cursor:
            if "ledger_delivery_out" in sql:
                raise sqlite3.OperationalError("database or disk is full")
            return super().execute(sql, parameters)  # type: ignore[arg-type]

    def open_failing(path: Path) -> sqlite3.Connection:
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Failing)

    with pytest.raises(SpoolError, match="disk is full"):
        Spool(path, ledger=BOUND, connect=open_failing)
    with Spool(path, ledger=BOUND) as spool:
        assert states(spool) == {"id-1": "queued"}


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


def test_a_spool_with_a_ledger_is_not_taken_over(tmp_path: Path, path: Path) -> None:
    with Spool(path, ledger=BOUND) as spool:
        spool.put(image(1))
    with Spool(tmp_path / "other.db") as other, pytest.raises(SpoolError, match="keeps a ledger"):
        take_over(other, path)
    with Spool(path) as spool:
        assert states(spool) == {"id-1": "queued"}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from(["put", "ack", "dead", "drop", "redrive"]), st.integers(0, 7))))
def test_lines_and_entries_agree_after_any_steps(tmp_path: Path, steps: list[tuple[str, int]]) -> None:
    path = tmp_path / "spool.db"
    path.unlink(missing_ok=True)
    for end in ("-wal", "-shm"):
        path.with_name(f"spool.db{end}").unlink(missing_ok=True)
    with Spool(path, ledger=BOUND, clock=FrozenClock(NOW)) as spool:
        for what, number in steps:
            entries = [entry for entry in spool.peek("out", limit=9, now=NOW) if entry.event.id == f"id-{number}"]
            if what == "put":
                spool.put(image(number), once=True)
            elif what == "ack":
                spool.ack_many(entries)
            elif what == "dead" and entries:
                spool.dead_letter(entries[0], "answered 422", 422)
            elif what == "drop":
                drop(spool, Selection(seqs=tuple(entry.seq for entry in entries)))
            elif what == "redrive":
                redrive(spool, Selection())
        found = states(spool)
        waiting = {entry.event.id for entry in spool.peek("out", limit=99, now=NOW)}
        dead = {letter.entry.event.id for letter in spool.dead()}
        assert {event_id for event_id, state in found.items() if state == "queued"} == waiting
        assert {event_id for event_id, state in found.items() if state == "dead"} == dead
        assert set(found) == {f"id-{number}" for what, number in steps if what == "put"}


def test_a_dead_letter_from_the_start_has_a_line_unless_another_event_has_it(path: Path) -> None:
    with Spool(path, ledger=BOUND) as spool:
        spool.put(image(1), once=True)
        other = replace(image(1), data=b"another")
        spool.put_dead([(image(2), "out"), (other, "out")], "of another site", 403)
        assert states(spool) == {"id-1": "queued", "id-2": "dead"}
    with Spool(path, ledger=BOUND) as spool:
        assert states(spool) == {"id-1": "queued", "id-2": "dead"}, "also after a restart"
        assert [line.reason for line in lines(spool)] == ["", "of another site"]


@pytest.mark.parametrize("has_left", [False, True])
def test_a_dead_letter_under_another_events_id_has_no_opening_write_anything(path: Path, has_left: bool) -> None:
    def run(sql: str) -> None:
        with closing(sqlite3.connect(path)) as db, db:
            db.execute(sql)

    with Spool(path, ledger=BOUND) as spool:
        spool.put(image(1), once=True)
        if has_left:
            spool.ack_many(spool.peek("out", now=NOW))
        spool.put_dead([(replace(image(1), data=b"another"), "out")], "of another site", 403)
    # A repair makes such a line `lost`, so this shows whether there was one.
    run(
        "INSERT INTO ledger(key, digest, source, id, taken_at, changed_at, eid) VALUES(1, x'', 'urn:x', 'x', 0, 0, 999)"
    )
    with Spool(path, ledger=BOUND) as spool:
        assert states(spool)["x"] == "queued"
    run("DELETE FROM ledger WHERE id = 'id-1'")  # as if an earlier release, which knows no ledger, had put the event
    with Spool(path, ledger=BOUND) as spool:
        assert states(spool)["x"] == "lost"


def test_a_copy_for_the_broker_alone_is_no_lost_event(path: Path) -> None:
    bound = LedgerLimits(ignored_lanes=("broker",))
    with Spool(path, ledger=bound) as spool:
        spool.put(image(1), lanes=("broker",), once=True)
        spool.put_dead([(image(2), "out")], "of another site", 403)
        spool.put_dead([(replace(image(2), data=b"another"), "out")], "of another site", 403)
    with Spool(path, ledger=bound) as spool:
        assert "lost" not in states(spool).values()


def test_a_line_in_the_place_of_a_damaged_one_goes_in_its_turn(path: Path) -> None:
    with Spool(path, ledger=LedgerLimits(max_entries=20)) as spool:
        spool.put(image(0))
        spool.database().commit(lambda db: insert_lost(db, 2))
        for number in range(1, 40):
            spool.put(image(number), once=True)
            spool.ack_many(spool.peek("out", limit=9, now=2e9))
        assert "lost" not in {line.state for line in lines(spool)}
