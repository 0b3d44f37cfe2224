"""Confidence intervals of shares, and bounds of the difference between two models on the same images.

All shares and drops are fractions of 1, not percentage points. Every confidence is one-sided unless the docstring says
otherwise.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

TOLERANCE = 1e-5
"""Maximum excess of a bound that is found by bisection, as a fraction of 1: a thousandth of a percentage point."""
NUISANCE_POINTS = 24
"""Number of values of the unknown share of gained answers over which an exact test is maximised. Eight times as many
changed the
p-values of 28 outcomes at 150 to 5,000 images by at most 0.0005."""
SPREADS = 6.0
"""Number of standard deviations around a count's mean within which probabilities are summed; the probability of all
other counts is below 1e-8."""

_Floats = npt.NDArray[np.float64]


POWER = 0.85
"""Probability with which a model without loss passes with `images_needed` images. It is slightly above the documented
0.8, because the discordance is estimated."""


def wilson(correct: float, n: float) -> tuple[float, float]:
    """Return the two-sided 95 % confidence interval of a share; it holds for few images and near 0 and 1.

    Args:
        correct: Number of images answered correctly.
        n: Number of images; it may be the number of independent ones that the images are worth.

    Returns:
        Low and high end, fractions of 1; (0, 1) for no images.

    Source: Wilson 1927, Probable Inference, the Law of Succession, and Statistical Inference.
    """
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.975)
    share, spread = correct / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return (low if correct else 0.0), (high if correct < n else 1.0)


def round_outward(interval: tuple[float, float], digits: int) -> tuple[float, float]:
    """Round the lower end down and the upper end up, so that the text claims no more than the interval does.

    Args:
        interval: Lower and upper end.
        digits: Digits after the point.
    """
    low, high = (round(end * 10**digits, 6) for end in interval)  # 0.29 * 100 is a little less than 29
    return math.floor(low) / 10**digits, math.ceil(high) / 10**digits


def lower_bound(successes: int, n: int, confidence: float = 0.95) -> float:
    """Return the one-sided lower bound of a share by Clopper and Pearson.

    The bound is exact: the true share is below it with a probability of at most 1 - confidence at every n. Wilson's
    bound is closer on average, but near 1 it exceeds that error, and a decision needs the guarantee.

    Args:
        successes: Number of images that count as successes.
        n: Number of images.
        confidence: Probability that the true share is at least the bound.

    Returns:
        The bound, a fraction of 1; 0 for no images.

    Source: Clopper and Pearson 1934, The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial.
    """
    if successes == 0:
        return 0.0
    if successes == n:
        return float((1 - confidence) ** (1 / n))
    low, high = 0.0, successes / n
    while high - low > TOLERANCE / 10:
        share = (low + high) / 2
        if _at_least(successes, n, share) <= 1 - confidence:
            low = share
        else:
            high = share
    return low


@lru_cache(maxsize=4096)  # simulations of the int8 gate ask for the same few counts thousands of times
def paired_drop_bound(lost: float, gained: float, n: int, confidence: float = 0.95) -> float:
    """Return the one-sided upper bound of the accuracy that a model lost against another on the same images.

    The bound is the smallest drop that `paired_p_value` rejects. It keeps its level at every n and with few or no
    discordant images. McNemar's mid-p, the bootstrap (0 discordant images give a bound of 0) and the plain score
    interval (6 % instead of 5 % at 150 images and 3 points) don't.

    Args:
        lost: Number of images that the first model answers correctly and the second doesn't; it may be a share of the
            independent images that the images are worth.
        gained: Number of images that the second model answers correctly and the first doesn't.
        n: Number of images that both answered.
        confidence: Probability that the true drop is at most the bound.

    Returns:
        The bound, a fraction of 1; negative when the second model is shown to be better, 1 for no images.
    """
    if n == 0:
        return 1.0
    low, high = (lost - gained) / n, 1.0
    width = 2 / math.sqrt(n)
    while low + width < 1 and paired_p_value(lost, gained, n, low + width) > 1 - confidence:
        low, width = low + width, 2 * width
    high = min(high, low + width)
    while high - low > TOLERANCE:
        drop = (low + high) / 2
        if paired_p_value(lost, gained, n, drop) <= 1 - confidence:
            high = drop
        else:
            low = drop
    return high


def paired_p_value(lost: float, gained: float, n: int, drop: float) -> float:
    """Return the probability of this loss or less if the true drop in accuracy is `drop` or more.

    This is an exact unconditional test: outcomes are ordered by Tango's score statistic, and the probability of those
    at most as large as the observed one is maximised over the unknown share of gained images.

    Args:
        lost: Number of images that the first model answers correctly and the second doesn't.
        gained: Number of images that the second model answers correctly and the first doesn't.
        n: Number of images that both answered, at least 1.
        drop: Difference of the accuracies under test, a fraction of 1, from -1 to 1.

    Source: Tango 1998, Equivalence test and confidence interval for the difference in proportions for the paired-sample
        design; Hsueh, Liu and Chen 2001, Unconditional exact tests for equivalence or noninferiority for paired binary
        endpoints (the maximum over the nuisance parameter).
    """
    log_factorials = np.concatenate([np.zeros(1), np.cumsum(np.log(np.arange(1.0, n + 1)))])
    seen = float(tango_score(np.array(float(lost)), np.array(float(gained)), n, drop))
    least, most = max(0.0, -drop), (1 - drop) / 2
    steps = np.concatenate([np.zeros(1), np.geomspace(min(1e-2, 0.1 / n), 1, NUISANCE_POINTS)])
    shares = least + steps * (most - least)
    return min(1.0, max(_tail(share, seen, n, drop, log_factorials) for share in shares))


def tango_score(lost: _Floats, gained: _Floats, n: int, drop: float) -> _Floats:
    """Return Tango's score statistic of a drop in accuracy; it is smaller for outcomes with less loss.

    Args:
        lost: Numbers of images that only the first model answers correctly.
        gained: Numbers of images that only the second model answers correctly; broadcast with `lost`.
        n: Number of images.
        drop: The drop under test, a fraction of 1.
    """
    variance = n * (2 * _gained_share(lost, gained, n, drop) + drop * (1 - drop))
    return np.asarray((lost - gained - n * drop) / np.sqrt(np.maximum(variance, 1e-12)))


def images_needed(discordance: float, margin: float) -> int:
    """Return the number of images that show with 95 % confidence that a model without loss loses at most `margin`.

    This is an approximation by normal distributions; the simulation behind the table in docs/benchmarks.md checks it
    against the exact test.

    Args:
        discordance: Share of the images that exactly one of the two models answers correctly.
        margin: Drop in accuracy to be excluded, a fraction of 1, above 0.

    Source: Liu et al. 2002, Tests for equivalence or non-inferiority for paired binary data.
    """
    if margin >= 1:
        return 1
    z_level, z_power = NormalDist().inv_cdf(0.95), NormalDist().inv_cdf(POWER)
    half = np.array(discordance / 2)
    null = math.sqrt(2 * float(_gained_share(half, half, 1, margin)) + margin * (1 - margin))
    normal = ((z_level * null + z_power * math.sqrt(discordance)) / margin) ** 2
    undisputed = math.log(0.05) / math.log(1 - margin)
    return math.ceil(max(normal, undisputed))


def split_p_value(hits: int, n: int, other_hits: int, other_n: int) -> float:
    """Return the probability that chance puts at least as many of all hits into the first of two samples.

    Source: Fisher 1934, Statistical Methods for Research Workers (the exact test, one-sided).
    """
    both, total = hits + other_hits, n + other_n
    ways = sum(math.comb(n, one) * math.comb(other_n, both - one) for one in range(hits, min(both, n) + 1))
    return ways / math.comb(total, both)


def _at_least(successes: int, n: int, share: float) -> float:
    """Return the binomial probability of at least `successes` successes in n trials with probability `share` each."""
    if share <= 0 or share >= 1:
        return float(share >= 1 or successes == 0)
    counts = np.arange(successes, n + 1, dtype=np.float64)
    log_factorials = np.concatenate([np.zeros(1), np.cumsum(np.log(np.arange(1.0, n + 1)))])
    ways = log_factorials[n] - log_factorials[successes:] - log_factorials[: n - successes + 1][::-1]
    return float(np.exp(ways + counts * math.log(share) + (n - counts) * math.log1p(-share)).sum())


def _gained_share(lost: _Floats, gained: _Floats, n: float, drop: float) -> _Floats:
    """Return the most likely share of gained images, given that the share of lost images is larger by `drop`."""
    linear = (2 * n - lost + gained) * drop - lost - gained
    root = np.sqrt(np.maximum(linear * linear + 8 * n * gained * drop * (1 - drop), 0))
    return np.asarray((root - linear) / (4 * n))


def _tail(gained_share: float, seen: float, n: int, drop: float, log_factorials: _Floats) -> float:
    """Return the probability that Tango's score statistic is at most `seen`, for one assumed share of gained images."""
    lost_share = gained_share + drop
    lost, gained = _likely(lost_share, n)[:, np.newaxis], _likely(gained_share, n)[np.newaxis, :]
    same = n - lost - gained
    possible = same >= 0
    same = np.maximum(same, 0)
    logs = log_factorials[n] - log_factorials[lost] - log_factorials[gained] - log_factorials[same]
    for count, share in ((lost, lost_share), (gained, gained_share), (same, 1 - lost_share - gained_share)):
        logs = logs + (count * math.log(share) if share > 0 else np.where(count > 0, -np.inf, 0.0))
    small = tango_score(lost.astype(np.float64), gained.astype(np.float64), n, drop) <= seen + 1e-9
    return float(np.exp(logs)[small & possible].sum())


def _likely(share: float, n: int) -> npt.NDArray[np.int64]:
    """Return the counts of successes in n trials that lie within `SPREADS` standard deviations of the mean."""
    reach = SPREADS * math.sqrt(n * share * (1 - share)) + SPREADS
    return np.arange(max(0, math.floor(n * share - reach)), min(n, math.ceil(n * share + reach)) + 1)
