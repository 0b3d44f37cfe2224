"""Tests that may be read after every request: values known by hand, and error rates over whole series."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eaves.rollout.sequential_tests import chance_of_ratio, chance_of_split, evidence_of_no_worse

LEVEL = 0.1
SERIES, REQUESTS, EVERY = 200, 1500, 20


def ever(random: np.random.Generator, new: float, old: float, share: float, says: Callable[..., bool]) -> float:
    """Share of series of requests in which a test says so at any look."""
    count = 0
    for _ in range(SERIES):
        is_new = random.random(REQUESTS) < share
        failed = random.random(REQUESTS) < np.where(is_new, new, old)
        sums = np.cumsum([failed & is_new, is_new, failed & ~is_new, ~is_new], axis=1)[:, EVERY - 1 :: EVERY]
        count += any(says(*map(int, look)) for look in sums.T)
    return count / SERIES


def test_a_split_has_the_binomial_probability_times_the_failures_and_one():
    assert chance_of_split(3, 10, 0, 90) == pytest.approx(4 * 0.1**3)
    assert chance_of_split(4, 50, 1, 50) == pytest.approx(6 * 5 / 2**5)
    assert chance_of_split(1, 10, 9, 90) == 1
    assert chance_of_split(0, 10, 0, 90) == chance_of_split(5, 10, 0, 0) == chance_of_split(0, 0, 5, 10) == 1


@pytest.mark.parametrize(("rate", "share"), [(0.02, 0.1), (0.2, 0.5)])
def test_equal_revisions_are_ever_distinguished_in_at_most_the_stated_share_of_series(rate: float, share: float):
    random = np.random.default_rng(0)
    found = ever(random, rate, rate, share, lambda *look: chance_of_split(*look) <= LEVEL)
    assert found <= LEVEL
    assert ever(random, 4 * rate, rate, share, lambda *look: chance_of_split(*look) <= LEVEL) > 0.8


@pytest.mark.parametrize(("old", "share"), [(0.0, 0.5), (0.02, 0.5), (0.02, 0.1)])
def test_one_worse_by_the_margin_ever_passes_in_at_most_the_stated_share_of_series(old: float, share: float):
    random, margin = np.random.default_rng(1), 0.08

    def passes(new_failed: int, new: int, old_failed: int, old: int) -> bool:
        return evidence_of_no_worse(new_failed, new, old_failed, old, margin) >= -math.log(LEVEL)

    assert ever(random, old + margin, old, share, passes) <= LEVEL
    assert ever(random, old, old, share, passes) > 0.8


def average(failed: int, requests: int) -> float:
    """Return the average of the likelihood over rates, computed numerically."""
    rates = np.linspace(0, 1, 100_001)[1:-1] ** 2
    prior = (1 - rates) ** 49  # times rate^-0.5, which the square as a variable cancels
    return float((prior * rates**failed * (1 - rates) ** (requests - failed)).sum() / prior.sum())


def test_the_ratio_is_of_the_average_and_the_largest_likelihood_of_a_worse_pair():
    def likelihood(rate: float) -> float:
        return 4 * math.log(rate) + 296 * math.log(1 - rate) + 2 * math.log(rate + 0.05) + 98 * math.log(0.95 - rate)

    worst = max(likelihood(step / 100_000) for step in range(1, 20_000))
    expected = math.log(0.8 * average(6, 400) + 0.2 * average(2, 100) * average(4, 300)) - worst
    assert evidence_of_no_worse(2, 100, 4, 300, 0.05) == pytest.approx(expected, abs=1e-3)
    assert evidence_of_no_worse(2, 100, 4, 300, 0.3) > expected, "a larger increase is ruled out sooner"
    assert evidence_of_no_worse(9, 100, 4, 300, 0.05) < 0, "the requests show a larger one"


def test_one_without_failures_needs_the_requests_that_a_geometric_series_needs():
    evidence = [evidence_of_no_worse(0, n, 0, n, 0.01) for n in (100, 200, 400)]
    assert evidence == sorted(evidence)
    assert evidence[2] < 400 * -math.log(0.99), "less than with the old rate known to be 0"


def test_a_ratio_of_means_is_distinguished_from_chance_the_sooner_the_less_it_varies():
    assert chance_of_ratio(0.0, 0.01, math.log(1.5)) == 1
    assert chance_of_ratio(math.log(1.6), 0.01, math.log(1.5)) == pytest.approx(0.000126, rel=0.01)
    assert chance_of_ratio(math.log(1.6), 0.04, math.log(1.5)) > 0.1
    assert chance_of_ratio(-math.log(1.6), 0.01, math.log(1.5)) == chance_of_ratio(math.log(1.6), 0.01, math.log(1.5))


@given(
    st.tuples(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 10**12)),
    st.floats(0.001, 2, exclude_min=True),
)
@example((20_955_527_790, 1, 90_071_782_991, 0), 0.99999)
def test_whatever_an_annotation_says_there_is_an_answer(numbers: tuple[int, int, int, int], margin: float):
    new_failed, new_answered, old_failed, old_answered = numbers
    look = (new_failed, new_failed + new_answered, old_failed, old_failed + old_answered)
    assert 0 <= chance_of_split(*look) <= 1
    assert not math.isnan(evidence_of_no_worse(*look, margin))
