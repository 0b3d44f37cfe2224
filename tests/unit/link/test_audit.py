"""Two lists compared: every sent event counts once, and nothing that was received goes unexplained unseen."""

import random
import resource
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import eaves
from eaves.base.backoff import Backoff
from eaves.errors import DeliveryError, InputError, NotFoundError, StatusError
from eaves.link.audit import Audit, EventComparison, read_file, read_receiver
from eaves.spool import LedgerLimits, LedgerLine, Spool
from eaves.spool.ledger import to_dict
from tests.processes.commands import run_command
from tests.unit.spool.entries import image

NOON = 1_764_072_000.0
"""2025-11-25T12:00:00Z."""


def line(number: int, *, at: float | None = None, state: str = "released", **values: object) -> LedgerLine:
    taken_at = NOON + number if at is None else at
    known = {"source": "/eaves/mill/flowers", "id": f"id-{number}", "taken_at": taken_at, "changed_at": taken_at}
    return LedgerLine(**{"number": number, "state": state, "repeats": 0, **known, **values})  # type: ignore[arg-type]


def received(*numbers: int, after_s: float = 2.0) -> list[LedgerLine]:
    return [line(number, at=NOON + number + after_s) for number in numbers]


def audit(sent: Iterable[LedgerLine], got: Iterable[LedgerLine], newer: Iterable[LedgerLine] | None = None) -> Audit:
    with EventComparison() as comparison:
        comparison.add_sent(sent)
        comparison.add_received(got)
        if newer is not None:
            comparison.add_newer(newer)
        return comparison.finish()


def counted(found: Audit) -> dict[str, int]:
    return {name: count for name, count in found.totals.items() if count}


def test_another_content_under_the_same_id_is_not_the_event():
    got = [replace(one, digest="bbbb") for one in received(1, 2, 3)]
    sent = [line(1, digest="aaaa"), line(2, digest="aaaa", state="dead", reason="answered 409"), line(3, digest="bbbb")]
    found = audit(sent, got)
    assert counted(found) == {"sent": 3, "received": 1, "dead": 1, "missing": 1}
    assert [one["why"] for one in found.missing] == ["the receiver has an event with this id but other content"]
    assert audit(sent, received(1, 2, 3)).totals["received"] == 3, "a list without digests is compared by ids alone"


def test_what_came_after_the_list_was_made_is_newer_and_not_unknown():
    assert audit([line(1)], received(1, 2)).newer == 1
    found = audit([line(1)], received(1, 2, 3), newer=[line(2)])
    assert (found.newer, found.totals["unknown"]) == (1, 1), "with the sender's newer lines each is looked for"


def test_what_the_sender_may_have_forgotten_is_older_and_not_unknown():
    kept = [line(1, state="queued", deleted=3), line(5), line(6)]
    got = received(2, 3, 4, 5, 6)
    found = audit(kept, got, newer=[])
    assert (found.older, found.covers_from, found.deleted, found.passed) == (3, NOON + 5, 3, True)
    more = audit(kept, [*got, line(70, at=NOON), line(71, at=NOON + 1)], newer=[])
    assert (more.older, more.totals["unknown"]) == (3, 2), "not more can be older than lines were deleted"
    late = audit(kept, [*got, line(9, at=NOON + 60)], newer=[])
    assert (late.older, late.totals["unknown"]) == (3, 1)


def test_what_the_receiver_may_have_forgotten_is_not_missing():
    found = audit([line(number) for number in range(1, 10)], received(6, 7, 9, after_s=0.5))
    assert counted(found) == {"sent": 9, "received": 3, "forgotten": 5, "missing": 1}
    assert [(one["id"], one["why"]) for one in found.missing] == [("id-8", "released at the sender")]
    assert not audit([line(1), line(2)], [line(7, at=NOON + 500)]).passed, "what can't be checked is no success"


@pytest.mark.parametrize(("deleted", "unexplained"), [(4, 0), (3, 1)])
def test_numbers_that_were_not_deleted_must_have_a_line(deleted: int, unexplained: int):
    kept = [line(1, state="queued", deleted=deleted), line(4), line(7), line(8)]
    for lines in (kept, kept[::-1]):
        found = audit(lines, received(4, 7, 8), newer=[])
        assert (found.deleted, found.unexplained) == (4 - unexplained, unexplained)
        assert found.covers_from == NOON + 7
        assert found.passed == found.agrees == (unexplained == 0)


def test_what_the_receiver_has_taken_and_not_kept_is_not_received():
    dead = [line(1, at=NOON + 3, state="dead"), *received(2)]
    assert counted(audit([line(1), line(2)], dead)) == {"sent": 2, "received": 1, "undelivered": 1}
    assert counted(audit([line(1), line(2)], [*dead, *received(1)])) == {"sent": 2, "received": 2, "repeated": 1}


def many(count: int, *, shuffled: bool = False) -> Iterator[LedgerLine]:
    numbers = list(range(1, count + 1))
    if shuffled:
        random.Random(7).shuffle(numbers)
    for number in numbers:
        yield line(number, id=f"{number:064x}", at=NOON + number / 10)


def compare_many(count: int) -> None:
    """Compare lists of so many lines of which one is missing and one unknown; prints the memory that it took."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    got = (replace(one, id="other") if one.number == 5 else one for one in many(count, shuffled=True))
    assert counted(audit(many(count), got, [])) == {"sent": count, "received": count - 1, "missing": 1, "unknown": 1}
    sys.stdout.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))


@pytest.mark.slow
@pytest.mark.long("two lists of a million lines are compared")
def test_a_million_lines_take_no_memory():
    code = "from tests.unit.link.test_audit import compare_many; compare_many(1_000_000)"
    done = run_command([sys.executable, "-c", code], cwd=Path(eaves.__file__).parents[1], check=True)
    assert int(done.stdout) < 150_000


# Where lists come from


class Receiver:
    """A receiver of so many lines; `failures` are raised first, one at each call."""

    def __init__(self, count: int, *failures: Exception) -> None:
        self.lines = [to_dict(line(number)) for number in range(1, count + 1)]
        self.failures = list(failures)
        self.calls = 0

    def read_ledger(self, after: int = 0, limit: int = 10_000) -> list[dict[str, Any]]:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return [one for one in self.lines if one["number"] > after][: min(limit, 3)]


def numbers(receiver: Receiver) -> list[int]:
    retry = Backoff(retry=3, first_s=0.001, cap_s=0.001)
    return [one.number for one in read_receiver(receiver.read_ledger, "https://cloud", retry=retry)]


def test_a_page_that_the_link_swallows_is_asked_for_again_but_not_one_that_is_refused():
    assert numbers(Receiver(4, DeliveryError("no answer"), DeliveryError("no answer"))) == [1, 2, 3, 4]
    receiver = Receiver(4, StatusError("answered 401", status=401))
    with pytest.raises(StatusError):
        numbers(receiver)
    assert receiver.calls == 1


def test_a_file_is_a_spool_or_lines(tmp_path: Path):
    path = tmp_path / "relay.db"
    with Spool(path, ledger=LedgerLimits()) as spool:
        spool.put(image(1))
        assert [one.id for one in read_file(path)] == ["id-1"], "while it is in use"
    Spool(tmp_path / "plain.db").close()
    with pytest.raises(NotFoundError, match="holds no ledger"):
        list(read_file(tmp_path / "plain.db"))
    with pytest.raises(InputError, match="can't be read"):
        list(read_file(tmp_path))
