"""Judge of latency: whether a prediction of the new revision takes longer than one of the old revision. Pure.

Means are compared, not quantiles: the buckets of a function's histogram are 2 to 2.5 times apart, so a quantile can't
show a model that became 1.5 times as slow, while sum and count are exact. The first prediction of each process takes
longer and would distort a mean of few predictions, so it is left out (`knative.rollout.metrics.counters`). How much the
mean varies is measured from one time window to the next.
"""

from __future__ import annotations

import math

from knative.rollout.analysis.assessment import Assessment, AssessmentResult, false_alarm
from knative.rollout.analysis.sequential_tests import chance_of_ratio
from knative.rollout.metrics.windows import WINDOW_S, WindowTimes
from knative.rollout.rollout_state import RolloutState

ENOUGH_WINDOWS = 8
"""Minimum number of time windows of each revision, from which the variation of its mean time is measured."""
LEAST_DEVIATION = 0.02
"""Minimum standard deviation that is assumed for the ratio of two mean times, since two replicas on two nodes differ by
as much."""
LEAST_EFFECT = math.log(1.05)
"""Minimum logarithm of `max_latency_ratio` that the test uses. With a ratio of 1.0, the test would otherwise need
infinitely many requests."""

TOLERATED = 0.5
"""Tolerance of the latency test: mean times count as equal up to this share of the logarithm of `max_latency_ratio`.

With a ratio of 1.5, a revision that takes up to 1.22 times as long is rolled back in at most 1 % of rollouts."""


def judge_times(state: RolloutState) -> Assessment:
    """Assess the new revision by its mean time of a prediction in the present step, compared with the old one's."""
    settings = state.settings
    new, old = state.counts.step(state.new), state.counts.step(state.old)
    if min(new.timed, old.timed) < settings.min_requests / 2:
        note = (
            "times are not compared: there are too few predictions besides the first one of each process"
            if new.judged
            else ""
        )
        return Assessment(finding=AssessmentResult.SILENT, evidence=note)
    evidence = f"a prediction takes {new.mean_ms:.1f} ms (before: {old.mean_ms:.1f} ms)"
    if new.mean_ms <= old.mean_ms * settings.max_latency_ratio:
        return Assessment(finding=AssessmentResult.FINE, evidence=evidence)
    measured = state.counts.windows.times
    new_times, old_times = measured.get(state.new, WindowTimes()), measured.get(state.old, WindowTimes())
    windows = min(new_times.windows, old_times.windows)
    if windows < ENOUGH_WINDOWS:
        why = (
            f"the new revision seems slow; {windows} of {ENOUGH_WINDOWS} time windows of {WINDOW_S:.0f} s are measured"
        )
        return Assessment(finding=AssessmentResult.OPEN, evidence=evidence, why=why)
    if _chance(new_times, old_times, settings.max_latency_ratio) <= false_alarm(state):
        return Assessment(finding=AssessmentResult.WORSE, evidence=evidence, why="the new revision is too slow")
    return Assessment(
        finding=AssessmentResult.OPEN,
        evidence=evidence,
        why="the new revision seems slow, but the times vary too much to decide",
    )


def _chance(new: WindowTimes, old: WindowTimes, most: float) -> float:
    """Return the probability that chance alone shows the observed ratio of mean times; 1 when the ratio is allowed.

    A revision whose true ratio is within the tolerance (`TOLERATED`) must not be rolled back because of inexact
    measurements. So the test uses only the part of the ratio above the tolerance.
    """
    if not old.mean_s or new.mean_s <= old.mean_s * most:
        return 1.0
    ratio = math.log(new.mean_s / old.mean_s) - TOLERATED * math.log(most)
    # Few windows measure a variance badly; Student's t is wider than the normal distribution by this factor.
    variance = sum(one.variance_of_mean / one.mean_s**2 * (one.windows - 1) / (one.windows - 3) for one in (new, old))
    return chance_of_ratio(ratio, max(variance, LEAST_DEVIATION**2), max(LEAST_EFFECT, math.log(most)))
