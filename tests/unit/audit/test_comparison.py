"""Two lists compared: every sent event counts once, and nothing that was received goes unexplained unseen."""

from __future__ import annotations

import random
import resource
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eaves
from eaves.audit import Audit, AuditCounts, EventComparison
from eaves.spool import LedgerLine

NOON = 1_764_072_000.0
"""2025-11-25T12:00:00Z."""


def line(number: int, *, at: float | None = None, state: str = "released", **values: object) -> LedgerLine:
    taken_at = NOON + number if at is None else at
    known = {"source": "/eaves/mill/flowers", "id": f"id-{number}", "taken_at": taken_at, "changed_at": taken_at}
    return LedgerLine(**{"number": number, "state": state, "repeats": 0, **known, **values})  # type: ignore[arg-type]


def received(*numbers: int, after_s: float = 2.0) -> list[LedgerLine]:
    return [line(number, at=NOON + number + after_s) for number in numbers]


def audit(
    sent: Iterable[LedgerLine],
    got: Iterable[LedgerLine],
    newer: Iterable[LedgerLine] | None = None,
    late_s: float = 60.0,
) -> Audit:
    with EventComparison(late_s=late_s) as comparison:
        comparison.add_sent(sent)
        comparison.add_received(got)
        if newer is not None:
            comparison.add_newer(newer)
        return comparison.finish()


def test_each_sent_event_counts_in_one_way() -> None:
    sent = [
        line(1),
        line(2, state="queued"),
        line(3, state="dead", reason="answered 422: broken"),
        line(4, state="removed", reason="answered 422: broken"),
        line(5),
        line(6, state="lost", reason="the event was on a damaged page"),
        line(7, state="dead", reason="answered 422: broken"),
    ]
    found = audit(sent, received(1))
    assert found.totals == AuditCounts(sent=7, received=1, waiting=1, dead=2, removed=1, missing=2)
    assert [(one.id, one.why) for one in found.missing] == [
        ("id-5", "released at the sender"),
        ("id-6", "lost: the event was on a damaged page"),
    ]
    assert not found.passed


def test_another_content_under_the_same_id_is_not_the_event() -> None:
    got = [replace(one, digest="bbbb") for one in received(1, 2, 3)]
    sent = [line(1, digest="aaaa"), line(2, digest="aaaa", state="dead", reason="answered 409"), line(3, digest="bbbb")]
    found = audit(sent, got)
    assert found.totals == AuditCounts(sent=3, received=1, dead=1, missing=1)
    assert [(one.id, one.why) for one in found.missing] == [
        ("id-1", "the receiver has an event with this id but other content")
    ]
    assert audit(sent, received(1, 2, 3)).totals.received == 3, "a list without digests is compared by ids alone"


def test_what_came_after_the_list_was_made_is_newer_and_not_unknown() -> None:
    assert audit([line(1)], received(1, 2)).newer == 1
    found = audit([line(1)], received(1, 2, 3), newer=[line(2)])
    assert (found.newer, found.totals.unknown) == (1, 1), "with the sender's newer lines each is looked for"


def test_what_the_sender_may_have_forgotten_is_older_and_not_unknown() -> None:
    kept = [line(1, state="queued", deleted=3), line(5), line(6)]
    got = received(2, 3, 4, 5, 6)
    found = audit(kept, got, newer=[])
    assert (found.older, found.totals.unknown) == (3, 0)
    assert (found.covers_from, found.deleted, found.unexplained) == (NOON + 5, 3, 0)
    assert found.passed
    more = audit(kept, [*got, line(70, at=NOON), line(71, at=NOON + 1)], newer=[])
    assert (more.older, more.totals.unknown) == (3, 2), "not more can be older than lines were deleted"
    late = audit(kept, [*got, line(9, at=NOON + 60)], newer=[])
    assert (late.older, late.totals.unknown) == (3, 1)


def test_several_senders_have_numbers_of_their_own() -> None:
    with EventComparison() as comparison:
        assert comparison.add_sent([line(1), line(2)]) == 2
        assert comparison.add_sent([line(1, id="a"), line(2, id="b"), line(3, id="c")]) == 3
        assert comparison.add_sent([]) == 0
        comparison.add_received([*received(1, 2), *(line(9, id=name) for name in "abc"), line(7, at=NOON - 500)])
        comparison.add_newer([])
        found = comparison.finish()
    assert (found.totals.sent, found.totals.received, found.totals.unknown, found.older) == (5, 5, 1, 0)


def test_what_the_receiver_may_have_forgotten_is_not_missing() -> None:
    sent = [line(1, state="lost"), *(line(number) for number in range(2, 6)), line(6), line(7), line(8), line(9)]
    found = audit(sent, received(6, 7, 9, after_s=0.5))
    assert found.totals == AuditCounts(sent=9, received=3, forgotten=4, missing=2)
    assert not audit([line(1), line(2)], [line(7, at=NOON + 500)]).passed, "what can't be checked is no success"
    assert [one.id for one in found.missing] == ["id-1", "id-8"]
    assert not found.passed
    assert audit(sent[1:5], received(6)).agrees


@pytest.mark.parametrize(("deleted", "unexplained"), [(4, 0), (3, 1)])
def test_numbers_that_were_not_deleted_must_have_a_line(deleted: int, unexplained: int) -> None:
    kept = [line(1, state="queued", deleted=deleted), line(4), line(7), line(8)]
    for lines in (kept, kept[::-1], [*kept[2:], *kept[:2]]):
        found = audit(lines, received(4, 7, 8), newer=[])
        assert (found.deleted, found.unexplained) == (4 - unexplained, unexplained)
        assert found.covers_from == NOON + 7
        assert found.passed == found.agrees == (unexplained == 0)


@pytest.mark.parametrize("ahead_s", [3_600.0, -3_600.0])
def test_a_receivers_clock_that_is_wrong_hides_no_forged_event(ahead_s: float) -> None:
    sent = [line(number) for number in range(1, 301)]
    got = received(*range(1, 301), after_s=ahead_s + 2.0)
    found = audit(sent, [*got, line(900, at=NOON + 100 + ahead_s), line(901, at=NOON + 303 + ahead_s)])
    assert [one.id for one in found.unknown] == ["id-900"]
    assert found.newer == 1


@pytest.mark.parametrize(
    ("state", "counted", "why"),
    [
        ("released", "received", ""),
        ("dead", "undelivered", ""),
        ("lost", "missing", "lost at the receiver: the event was on a damaged page"),
    ],
)
def test_what_the_receiver_has_taken_and_not_kept_is_not_received(state: str, counted: str, why: str) -> None:
    got = [line(1, at=NOON + 3, state=state, reason="the event was on a damaged page"), *received(2)]
    found = audit([line(1), line(2)], got)
    assert (found.totals.sent, found.totals.received) == (2, 1 + (counted == "received"))
    assert getattr(found.totals, counted) == 1 + (counted == "received")
    assert [one.why for one in found.missing] == ([why] if why else [])
    assert found.passed == (counted == "received")
    assert found.agrees == (counted != "missing")
    assert audit([line(1), line(2)], [*got, *received(1)]).totals.received == 2, "another list says it was delivered"
    waiting = audit([line(1, state="queued"), line(2)], got)
    assert waiting.totals.waiting == (state == "lost"), "the sender still has it"


@settings(max_examples=60, deadline=None)
@given(
    sent=st.lists(st.tuples(st.integers(1, 12), st.sampled_from(["queued", "released", "dead", "removed", "lost"]))),
    got=st.lists(st.integers(1, 15)),
)
def test_the_counts_are_those_of_sets(sent: list[tuple[int, str]], got: list[int]) -> None:
    first: dict[int, str] = {}
    for number, state in sent:
        first.setdefault(number, state)
    # Lines in the order of their numbers, as a list has them; the first of several lines of an event stands for it.
    lines = [line(number, state=state) for number, state in sorted(sent, key=lambda one: one[0])]
    lines = [replace(one, number=place) for place, one in enumerate(lines, start=1)]
    found = audit(lines, received(*got), newer=[])
    there = set(got)

    def is_forgotten(number: int) -> bool:
        # `received` adds 2 s, and lines are a second apart.
        return number not in there and min(there, default=0) > 1 and number < min(there) + 2

    expected = {
        "sent": len(first),
        "received": len(first.keys() & there),
        "waiting": sum(state == "queued" and number not in there for number, state in first.items()),
        "dead": sum(state == "dead" and number not in there for number, state in first.items()),
        "removed": sum(state == "removed" and number not in there for number, state in first.items()),
        "forgotten": sum(state == "released" and is_forgotten(number) for number, state in first.items()),
        "missing": sum(
            state in ("released", "lost") and number not in there and not (state == "released" and is_forgotten(number))
            for number, state in first.items()
        ),
        "unknown": len(there - first.keys()),
    }
    assert {name: getattr(found.totals, name) for name in expected} == expected
    assert found.totals.repeated == sum(got.count(number) - 1 for number in first.keys() & there)


def many(count: int, *, shuffled: bool = False) -> Iterator[LedgerLine]:
    numbers = list(range(1, count + 1))
    if shuffled:
        random.Random(7).shuffle(numbers)
    for number in numbers:
        yield line(number, id=f"{number:064x}", at=NOON + number / 10)


def compare_many(count: int) -> None:
    """Compare lists of so many lines of which one is missing and one unknown; prints the memory that it took."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with EventComparison() as comparison:
        comparison.add_sent(many(count))
        comparison.add_received(
            replace(one, id="other") if one.number == 5 else one for one in many(count, shuffled=True)
        )
        comparison.add_newer([])
        found = comparison.finish()
    assert (found.totals.received, found.totals.missing, found.totals.unknown) == (count - 1, 1, 1)
    sys.stdout.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))


@pytest.mark.slow
def test_a_million_lines_take_no_memory() -> None:
    code = "from tests.unit.audit.test_comparison import compare_many; compare_many(1_000_000)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(eaves.__file__).parents[1], capture_output=True, text=True, check=True
    )
    grown_kb = int(done.stdout)
    sys.stdout.write(f"{grown_kb} KB\n")
    assert grown_kb < 150_000
