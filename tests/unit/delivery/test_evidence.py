"""How many refusals put one entry at fault, and which refusals don't."""

from __future__ import annotations

import random

import pytest

from eaves.delivery.evidence import ROUNDS, RefusalHistory


@pytest.mark.parametrize(("bad_every", "given_up"), [(50, True), (10, False)])
def test_entries_are_at_fault_only_while_few_others_are_refused_as_well(bad_every: int, given_up: bool) -> None:
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


def test_entries_that_were_given_up_hide_no_entry_that_is_refused_in_between() -> None:
    evidence, passed, rounds = RefusalHistory(), 1_000, 1
    while not evidence.refused(0):
        rounds += 1
        while not evidence.refused(rounds):
            passed += 1
            evidence.passed(passed)
    assert rounds == ROUNDS


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
