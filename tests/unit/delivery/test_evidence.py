"""How many refusals make one entry's fault, and how few don't."""

from __future__ import annotations

import random

import pytest

from eaves.delivery.refusal_history import MAX_SUSPECTS, ROUNDS, RefusalHistory


def rounds_until_given_up(passes_between: int) -> int:
    """Refusals of one entry until it is given up on, others getting through between them."""
    evidence = RefusalHistory()
    rounds = 1
    while not evidence.refused(0):
        for other in range(passes_between):
            evidence.passed(rounds * 1000 + other + 1)
        rounds += 1
    return rounds


@pytest.mark.parametrize(("passes_between", "rounds"), [(1, 10), (5, 6), (20, 4), (100, ROUNDS)])
def test_it_takes_three_rounds_when_many_others_get_through_and_some_more_when_few_do(
    passes_between: int, rounds: int
) -> None:
    assert rounds_until_given_up(passes_between) == rounds


def test_a_way_that_fails_a_third_of_the_time_costs_no_entry_however_few_get_through_in_between() -> None:
    """Entries that come one by one and are tried again as often as another comes."""
    chance = random.Random(7)
    evidence = RefusalHistory()
    waiting: list[int] = []
    given_up = 0
    for fresh in range(20_000):
        for seq in [fresh, *waiting[:1]]:
            if chance.random() > 1 / 3:
                evidence.passed(seq)
                waiting = [other for other in waiting if other != seq]
            elif evidence.refused(seq):
                given_up += 1
                waiting.remove(seq)
            elif seq not in waiting:
                waiting.append(seq)
    assert given_up <= 1


def test_the_suspects_remembered_have_a_bound() -> None:
    evidence = RefusalHistory()
    for seq in range(MAX_SUSPECTS + 10):
        evidence.refused(seq)
    assert len(evidence._suspects) == MAX_SUSPECTS
