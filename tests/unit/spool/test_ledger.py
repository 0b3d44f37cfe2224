"""The ledger: a line for each event says what became of it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eaves.events import REPLY_TYPES
from eaves.spool import LedgerLimits, PutOutcome, Selection, Spool
from eaves.spool.admin import drop, redrive
from tests.fakes.clock import FrozenClock
from tests.unit.spool.entries import BOUND, NOW, image, ledger_of, lines, run, states


@pytest.fixture
def spool(path: Path) -> Iterator[Spool]:
    with Spool(path, ledger=BOUND, clock=FrozenClock(NOW)) as opened:
        yield opened


@pytest.mark.parametrize(
    ("first", "second", "state"),
    [
        ("ack", "dead", "dead"),
        ("ack", "drop", "removed"),
        ("drop", "dead", "dead"),
        ("ack", "", "queued"),
    ],
)
def test_an_event_on_two_lanes_has_one_line(spool: Spool, first: str, second: str, state: str):
    spool.put(image(1), lanes=("a", "b"))
    for lane, what in (("a", first), ("b", second)):
        [entry] = spool.peek(lane)
        if what == "ack":
            spool.ack(entry)
        elif what == "dead":
            spool.dead_letter(entry, "answered 422", 422)
        elif what == "drop":
            drop(spool, Selection(seqs=(entry.seq,)))
    assert states(spool) == {"id-1": state}


def test_an_event_under_a_known_id_is_a_conflict_and_no_repetition(spool: Spool):
    spool.put(image(1), once=True)
    other = image(1, data=b"other")
    assert spool.put_many([(other, ("out",)), (image(1), ("out",))], once=True) == [
        PutOutcome.CONFLICTING,
        PutOutcome.REPEATED,
    ]
    counts = ledger_of(spool).counts()
    assert (counts.repeats, counts.conflicts) == (1, 1)
    assert spool.peek("out")[0].event == image(1)


def test_a_reply_that_was_made_a_second_time_is_the_same_event(spool: Spool):
    for kind in REPLY_TYPES:
        reply = replace(image(1), id=kind, type=kind, data=b'{"ms": 3.1}', extensions={"modelversion": "1"})
        again = replace(reply, data=b'{"ms": 4.7}', extensions={"modelversion": "2"})
        puts = [(one, ("out",)) for one in (reply, again)]
        assert spool.put_many(puts, once=True) == [PutOutcome.STORED, PutOutcome.REPEATED]


def test_an_event_can_be_kept_as_a_dead_letter_from_the_start(spool: Spool):
    spool.put(image(1), once=True)
    for _ in range(2):
        spool.put_dead([(image(1, data=b"other"), "out"), (image(1, data=b"a third"), "out")], "another event", 409)
    letters = spool.dead()
    assert [(one.entry.event.data, one.reason, one.status) for one in letters] == [
        (b"other", "another event", 409),
        (b"a third", "another event", 409),
    ]
    assert states(spool) == {"id-1": "queued"}
    assert (spool.counts(), spool.dead_bytes() > 0) == ({"out": (1, 2)}, True)
    redrive(spool, Selection())
    assert spool.counts() == {"out": (3, 0)}
    spool.ack_many(spool.peek("out", limit=9))
    assert states(spool) == {"id-1": "released"}


def test_what_is_added_on_the_way_makes_no_other_event(spool: Spool):
    spool.put(image(1), once=True)
    again = replace(image(1), extensions={"knativearrivaltime": "2026-11-25T00:00:00Z", "traceparent": "00-1-2-00"})
    other = replace(image(1), subject="other")
    assert spool.put_many([(again, ("out",)), (other, ("out",))], once=True) == [
        PutOutcome.REPEATED,
        PutOutcome.CONFLICTING,
    ]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from(["put", "ack", "dead", "drop", "redrive"]), st.integers(0, 7))))
def test_lines_and_entries_agree_after_any_steps(tmp_path: Path, steps: list[tuple[str, int]]):
    path = tmp_path / "spool.db"
    path.unlink(missing_ok=True)
    for end in ("-wal", "-shm"):
        path.with_name(f"spool.db{end}").unlink(missing_ok=True)
    with Spool(path, ledger=BOUND, clock=FrozenClock(NOW)) as spool:
        for what, number in steps:
            entries = [entry for entry in spool.peek("out", limit=9) if entry.event.id == f"id-{number}"]
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
        waiting = {entry.event.id for entry in spool.peek("out", limit=99)}
        dead = {letter.entry.event.id for letter in spool.dead()}
        assert {event_id for event_id, state in found.items() if state == "queued"} == waiting
        assert {event_id for event_id, state in found.items() if state == "dead"} == dead
        assert set(found) == {f"id-{number}" for what, number in steps if what == "put"}


# Over months: lines beyond their bound, ignored lanes, openings


def test_beyond_their_number_the_oldest_lines_of_events_that_left_are_deleted(path: Path):
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


def test_the_first_line_of_a_reading_says_how_many_were_deleted(path: Path):
    with Spool(path, ledger=LedgerLimits(max_entries=4)) as spool:
        for number in range(9):
            spool.put(image(number), once=True)
            spool.ack_many(spool.peek("out", limit=9))
        assert [(line.number, line.deleted) for line in lines(spool)] == [(6, 5), (7, None), (8, None), (9, None)]
        assert [line.deleted for line in ledger_of(spool).read(after=7)] == [5, None]
        assert [line.deleted for line in ledger_of(spool).read(site="site")] == [None] * 4


def test_a_lane_that_is_ignored_changes_no_line(path: Path):
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


def test_a_spool_that_had_none_begins_with_what_waits(path: Path):
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


@pytest.mark.parametrize("change", ["state = 'x'", "digest = 'x'", "id = x'ff00'", "taken_at = 'x', repeats = -1.5"])
def test_a_line_that_damage_has_changed_is_left_out_and_its_event_is_stored_again(spool: Spool, change: str):
    spool.put_many([(image(number), ("out",)) for number in range(3)], once=True)
    run(spool, f"UPDATE ledger SET {change} WHERE number = 2")
    assert [line.number for line in lines(spool)] == [1, 3]
    assert spool.put(image(1), once=True)
    assert not spool.put(image(1), once=True)
    assert [line.number for line in lines(spool)] == [1, 3, 4]
