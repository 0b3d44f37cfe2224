"""Statistical tests that may be repeated after every request: the error probability holds for all repetitions.

An ordinary test is valid once. Repeated every 5 s at a level of 5 %, it fails sooner or later in almost every rollout.
The three functions here bound the probability that a test is ever wrong in a series of any length.
"""

from __future__ import annotations

import math

BASE_FAILED, BASE_ANSWERED = 0.5, 50.0
"""Parameters of the beta distribution that `evidence_of_no_worse` assumes for an error rate before any request: about 1
%, with little weight.

The error probability of the test is the same with other values. With these values the test needs few requests at error
rates from 0 to 10 %."""
EQUAL = 0.8
"""Weight that `evidence_of_no_worse` gives to the assumption that both error rates are equal.

The rest is the weight of two different rates, for a new revision that fails a little more or less often than the old
one."""
EDGE = 1e-12
"""Minimum distance of an assumed rate from 0 and 1, so that its logarithm is finite when requests contradict it."""
BISECTIONS = 20
"""Number of bisections in the search for a rate; 20 find it to a millionth of the interval."""


def chance_of_split(new_failed: int, new: int, old_failed: int, old: int) -> float:
    """Bound the probability that chance ever divides failed requests this unevenly between two equally good revisions.

    With equal rates, each failed request belongs to the new revision with the probability that any request does. The
    binomial probability b(x; n, p) of the division, times n + 1, is at or below a level at any time of an infinite
    series with a probability of at most that level. The number of requests and the rate itself cancel, so a rate that
    changes during the day, for both revisions, has no effect.

    Args:
        new_failed: Failed requests of the new revision.
        new: All requests that the new revision answered or failed.
        old_failed: Failed requests of the old revision in the same time.
        old: All requests of the old revision.

    Returns:
        The bound, at most 1. It doesn't say which revision is worse.

    Source: Robbins 1970, Statistical Methods Related to the Law of the Iterated Logarithm, Annals of Mathematical
    Statistics 41 (a mixture of likelihood ratios over a uniform prior); Hoeffding 1963, Probability Inequalities for
    Sums of Bounded Random Variables, theorem 4 (requests of one look are divided without replacement, which only makes
    uneven divisions rarer); Johari, Pekelis, Walsh 2015, Always Valid Inference (the same mixture in A/B tests).
    """
    failed = new_failed + old_failed
    if not new or not old or not failed:
        return 1.0
    share = new / (new + old)
    log_chance = (
        math.log(failed + 1)
        + _log_choose(failed, new_failed)
        + new_failed * math.log(share)
        + old_failed * math.log1p(-share)
    )
    return math.exp(min(0.0, log_chance))


def evidence_of_no_worse(new_failed: float, new: float, old_failed: float, old: float, margin: float) -> float:
    """Return the evidence that the new error rate is not higher than the old one by `margin` or more.

    It is the logarithm of a ratio of two likelihoods. The numerator averages over pairs of rates, with most weight on
    equal rates. The denominator takes the pair of rates that explains the requests best, among the pairs whose new rate
    is higher by at least the margin. For every such pair, the ratio ever reaches R with a probability of at most 1 / R.

    Args:
        new_failed: Failed requests of the new revision.
        new: All requests that the new revision answered or failed.
        old_failed: Failed requests of the old revision.
        old: All requests of the old revision.
        margin: Increase of the error rate to rule out, above 0; 1 and more is ruled out already.

    Returns:
        The logarithm of the ratio.

    Source: Wald 1945, Sequential Tests of Statistical Hypotheses (the bound); Wasserman, Ramdas, Balakrishnan 2020,
    Universal Inference, section 8 (unknown rates: the largest likelihood in the denominator).
    """
    if margin >= 1:
        return math.inf
    equal = math.log(EQUAL) + _log_average(new_failed + old_failed, new + old)
    apart = math.log(1 - EQUAL) + _log_average(new_failed, new) + _log_average(old_failed, old)
    high, low = max(equal, apart), min(equal, apart)
    average = high + math.log1p(math.exp(low - high))
    rate = _worse_rate(new_failed, new, old_failed, old, margin)
    worse = max(new_failed / new if new else 1.0, rate + margin)
    return average - _log_likelihood(old_failed, old, rate) - _log_likelihood(new_failed, new, worse)


def chance_of_ratio(log_ratio: float, variance: float, expected: float) -> float:
    """Bound the probability that the observed ratio of two means ever occurs although the means are equal.

    The bound holds for all repetitions of the test together.

    Args:
        log_ratio: Logarithm of the ratio of the two means.
        variance: Variance of that logarithm.
        expected: Size of the logarithm that the test should detect fastest. The error probability is the same for any
            value.

    Source: Johari, Pekelis, Walsh 2015, Always Valid Inference, section 5 (mSPRT of a normal mean, normal mixture).
    """
    both = variance + expected**2
    log_evidence = (math.log(variance / both) + log_ratio**2 * expected**2 / (variance * both)) / 2
    return math.exp(min(0.0, -log_evidence))


def _worse_rate(new_failed: float, new: float, old_failed: float, old: float, margin: float) -> float:
    """Return the most likely error rate of the old revision if that of the new one is higher by at least `margin`.

    The likelihood along `new rate = old rate + margin` has one peak, which bisection finds. It lies between the error
    rates that the requests of each revision show.
    """
    high = min(old_failed / old if old else 0.0, (1 - margin) * (1 - EDGE))
    low = max(0.0, (new_failed / new if new else 0.0) - margin)
    if low >= high:  # the requests show such an increase themselves, or the old revision has not failed
        return high
    for _ in range(BISECTIONS):
        rate = (low + high) / 2
        slope = (
            old_failed / rate
            - (old - old_failed) / (1 - rate)
            + new_failed / (rate + margin)
            - (new - new_failed) / max(1 - rate - margin, EDGE**2)  # rounding may leave nothing
        )
        low, high = (rate, high) if slope > 0 else (low, rate)
    return (low + high) / 2


def _log_average(failed: float, requests: float) -> float:
    """Return the logarithm of the likelihood, averaged over all error rates with the weights of a beta distribution."""
    return _log_beta(BASE_FAILED + failed, BASE_ANSWERED + requests - failed) - _log_beta(BASE_FAILED, BASE_ANSWERED)


def _log_likelihood(failed: float, requests: float, rate: float) -> float:
    log_failed = failed * math.log(max(rate, EDGE)) if failed else 0.0
    return log_failed + ((requests - failed) * math.log1p(-min(rate, 1 - EDGE)) if requests > failed else 0.0)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
