"""Intervals of shares and paired bounds, compared with published figures and with their stated error."""

import math
from collections import Counter

import numpy as np
import pytest

from eaves.base.statistics import (
    images_needed,
    lower_bound,
    paired_drop_bound,
    paired_p_value,
    wilson,
)


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    # Source: Brown, Cai and DasGupta 2001, Interval Estimation for a Binomial Proportion, formula (4), worked by hand.
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (0, 0, 0.0, 1.0)],
)
def test_the_wilson_interval(correct: int, n: int, low: float, high: float):
    assert wilson(correct, n) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("n", [13, 150])
@pytest.mark.parametrize("share", [0.9, 0.99])
def test_a_lower_bound_exceeds_the_true_share_in_at_most_5_percent(n: int, share: float):
    chances = [math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(n + 1)]
    assert sum(chances) == pytest.approx(1)
    assert sum(chance for k, chance in enumerate(chances) if lower_bound(k, n) > share) <= 0.05


def test_a_paired_bound_without_discordant_images_is_the_rule_of_three():
    for n in (1, 13, 150):
        assert paired_drop_bound(0, 0, n) == pytest.approx(1 - 0.05 ** (1 / n), abs=1e-4)
    assert paired_drop_bound(0, 0, 0) == 1


def test_the_paired_test_errs_in_at_most_5_percent_whatever_is_gained():
    n, drop = 40, 0.03
    """The plain score statistic exceeds this: 5.9 % at 150 images, 3 points and nothing gained."""
    for gained_share in (0.0, 0.01, 0.07):
        lost_share, error = gained_share + drop, 0.0
        for gained in range(int(n * gained_share + 6 * math.sqrt(n * gained_share)) + 1):
            for lost in range(n - gained + 1):
                if paired_p_value(lost, gained, n, drop) > 0.05:
                    break
                ways = math.comb(n, lost) * math.comb(n - lost, gained)
                same = (1 - lost_share - gained_share) ** (n - lost - gained)
                error += ways * lost_share**lost * gained_share**gained * same
        assert error <= 0.05


def test_the_number_of_images_needed_shows_a_harmless_model_in_four_of_five_cases():
    n, rng = images_needed(0.02, 0.03), np.random.default_rng(0)
    counts = Counter(map(tuple, rng.multinomial(n, [0.01, 0.01, 0.98], size=2000).tolist()))
    passed = sum(times for (lost, gained, _), times in counts.items() if paired_p_value(lost, gained, n, 0.03) <= 0.05)
    assert 0.8 <= passed / 2000 <= 0.95
