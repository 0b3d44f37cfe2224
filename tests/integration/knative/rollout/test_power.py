"""How often rollouts are judged rightly: a short form of `python -m bench.rollout`, with the same seeds each time.

Bars are those of the table in docs/11-rollouts.md. Few rollouts can't show a share of 1 %, so a good revision must not
be rolled back even once here.
"""

from __future__ import annotations

import pytest

from bench.rollout.scenarios import (
    BLIP,
    FAILS_20_TIMES_AS_OFTEN,
    REFUSES_10_PERCENT,
    SCENARIOS,
    USUAL,
    Scenario,
    equal,
    refusing,
    varying,
)
from bench.rollout.simulation import Revision, simulate
from bench.rollout.table import Row, render, run
from knative.rollout.rollout_state import RolloutPhase

TWICE_AS_SLOW = next(scenario for scenario in SCENARIOS if scenario.name == "times twice as long")


@pytest.mark.parametrize(
    ("scenario", "per_second", "rollouts"),
    [
        (equal(0.0), 2, 12),
        (equal(0.005), 20, 30),
        (equal(0.01), 2, 2),
        (equal(0.01), 20, 20),
        (FAILS_20_TIMES_AS_OFTEN, 2, 12),
        (FAILS_20_TIMES_AS_OFTEN, 20, 40),
        (BLIP, 2, 12),
        (refusing(0.05), 2, 12),
        (refusing(0.05), 20, 60),
        (refusing(0.5), 20, 60),
        (REFUSES_10_PERCENT, 2, 12),
        (varying(1.0), 20, 60),
        (TWICE_AS_SLOW, 20, 40),
    ],
    ids=lambda value: value.name if isinstance(value, Scenario) else str(value),
)
def test_rollouts_are_judged_rightly(scenario: Scenario, per_second: float, rollouts: int) -> None:
    row = run(scenario, per_second, rollouts)
    assert row.within_bar, render(row)
    if scenario.most_back < 1:
        assert row.share(RolloutPhase.ROLLED_BACK)[0] == 0, [ending.reason for ending in row.endings]


def test_a_rollout_is_simulated_with_the_same_end_each_time_and_says_what_was_seen() -> None:
    ending, again = (simulate(USUAL, Revision(errors=0.05), per_second=2, seed=7) for _ in range(2))
    assert ending == again
    assert ending.reason.startswith("the new revision fails more often (by chance, this happens in fewer than 1 of ")
    assert ending.failed >= 4


def test_the_table_has_intervals() -> None:
    row = Row(scenario=BLIP, per_second=2.0, endings=(simulate(BLIP.new, BLIP.old, per_second=20, seed=0),) * 20)
    assert "| 100.0 % (83.9-100.0) | 0.0 % (0.0-16.1) | 0.0 % (0.0-16.1) |" in render(row)
