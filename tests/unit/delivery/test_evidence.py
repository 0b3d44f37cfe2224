"""How many refusals put one entry at fault, and which refusals don't; rejections."""

import pytest

from eaves.delivery.evidence import ROUNDS, RefusalHistory
from eaves.delivery.rejection import build_refusal
from tests.unit.spool.entries import image


@pytest.mark.parametrize(("bad_every", "given_up"), [(50, True), (10, False)])
def test_entries_are_at_fault_only_while_few_others_are_refused_as_well(bad_every: int, given_up: bool):
    """One in ten is refused by a rule of a proxy, such as a limit of sizes, and waits until the rule is corrected."""
    evidence = RefusalHistory()
    refused: set[int] = set()
    dead: set[int] = set()
    for seq in range(3_000):
        if seq % bad_every == 0:
            refused.add(seq)
        else:
            evidence.passed(seq)
        if seq % 5 == 0:
            dead |= {one for one in refused if evidence.refused(one)}
            refused -= dead
    assert bool(dead) == given_up
    assert len(refused) < 20 or not given_up


def test_entries_that_were_given_up_hide_no_entry_that_is_refused_in_between():
    evidence, passed, rounds = RefusalHistory(), 1_000, 1
    while not evidence.refused(0):
        rounds += 1
        while not evidence.refused(rounds):
            passed += 1
            evidence.passed(passed)
    assert rounds == ROUNDS


def test_refusals_in_a_row_are_chance_where_half_of_all_requests_fail():
    evidence = RefusalHistory(1.0)
    for other in range(1, 2 * ROUNDS):
        assert not evidence.refused(0)
        assert not evidence.refused(other)
        evidence.passed(other)


def test_each_event_and_each_receiver_has_a_rejection_of_its_own_with_the_same_id_each_time():
    def refuse(number: int, by: str, reason: str) -> str:
        return build_refusal(image(number), "mill", by=by, status=422, reason=reason).id

    first = refuse(1, "flowers", "not an image")
    assert refuse(1, "flowers", "still not an image") == first
    assert len({first, refuse(2, "flowers", "not an image"), refuse(1, "parts", "not an image")}) == 3
