"""The gate's two errors, exactly: a graph that loses the allowed drop ships, and a harmless one is refused."""

import math
from functools import cache

import numpy as np
import pytest

from converters.int8.evidence import assess_candidate, shown_above
from converters.settings import ConvertSettings
from eaves.base.statistics import paired_p_value
from trainer.grouped_statistics import CONFIDENCE, JudgedImages

ALLOWED = ConvertSettings(max_accuracy_drop=3, min_agreement=0.95)
CLASS_DROP = 2 * 0.03

DISCORDANCES = (0.02, 0.08)
"""Shares of the images that exactly one of the two graphs names right."""


SLOW = (pytest.mark.slow, pytest.mark.long("sums up exact probabilities of a million outcomes"))


@cache
def is_accepted(lost: int, gained: int, n: int, drop: float) -> bool:
    """Whether labels alone accept a graph that loses and gains so many of n images."""
    return paired_p_value(lost, gained, n, drop) <= 1 - CONFIDENCE


def probability(n: int, drop: float, lost_share: float, gained_share: float) -> float:
    """Exact probability that labels alone accept a graph: one that gains more may lose more."""
    total, most, rest = 0.0, -1, 1 - lost_share - gained_share
    for gained in range(min(n, math.ceil(n * gained_share + 6 * math.sqrt(n * gained_share) + 10)) + 1):
        while most < n - gained and is_accepted(most + 1, gained, n, drop):
            most += 1
        for lost in range(min(most, n - gained) + 1):
            ways = math.comb(n, gained) * math.comb(n - gained, lost)
            logs = gained * math.log(gained_share) + lost * math.log(lost_share) + (n - gained - lost) * math.log(rest)
            total += math.exp(math.log(ways) + logs)
    return total


@pytest.mark.parametrize("drop", [0.01, 0.03])
@pytest.mark.parametrize("discordance", DISCORDANCES)
@pytest.mark.parametrize("n", [150, 500, *(pytest.param(n, marks=SLOW) for n in (1250, 2500, 5000))])
def test_a_graph_that_loses_the_allowed_drop_ships_in_under_5_percent(n: int, discordance: float, drop: float):
    assert probability(n, drop, discordance / 2 + drop, discordance / 2) < 0.05


def test_the_probabilities_are_of_the_gate_itself():
    """`is_accepted` says of an outcome what `assess_candidate` does."""
    for gained in range(4):
        most = max(lost for lost in range(30) if is_accepted(lost, gained, 150, 0.03))
        for lost in (most, most + 1):
            truth = np.arange(150) % 3
            fp32, int8 = truth.copy(), truth.copy()
            int8[:lost] += 1
            fp32[lost : lost + gained] += 1
            found = assess_candidate(truth, fp32, int8, ("a", "b", "c", "d"), ALLOWED)
            assert found.passed == (lost <= most)


def refused_for_a_class(sizes: tuple[int, ...], lost: tuple[float, ...], gained: float, *, runs: int = 400) -> float:
    """Share of judgements in which some class is beyond its bound."""
    random, refused = np.random.default_rng(0), 0
    truth, shares = np.repeat(np.arange(len(sizes)), sizes), np.repeat(lost, sizes)
    judged = JudgedImages(range(len(truth)), truth)
    for _ in range(runs):
        drawn = random.random(len(truth))
        loss = (drawn <= 1 - gained).astype(np.float64) - (drawn >= shares)
        refused += bool(shown_above(judged, loss, len(sizes), CLASS_DROP))
    return refused / runs


def test_a_class_rule_refuses_few_harmless_graphs_and_most_that_ruin_a_class():
    few = (30, 30, 30, 30, 30)
    assert refused_for_a_class(few, (0.01,) * 5, 0.01) < 0.01
    assert refused_for_a_class(few, (0.04,) * 5, 0.04) < 0.01
    assert refused_for_a_class((5,) * 20 + (400,), (0.02,) * 21, 0.02) < 0.01
    assert refused_for_a_class((200, 200, 30), (0.01, 0.01, CLASS_DROP + 0.01), 0.01) < 0.05
    assert refused_for_a_class((200, 200, 30), (0.01, 0.01, 0.3), 0.01) > 0.8
    assert refused_for_a_class((495, 5), (0.0, 1.0), 0.0) == 1.0
