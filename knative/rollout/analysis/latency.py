"""Whether a prediction of the new revision takes longer than one of the old revision. Pure.

Means are compared, not quantiles: the buckets of a function's histogram are 2 to 2.5 times apart, so a quantile can't
see a model that became 1.5 times as slow, while sum and count are exact. What makes a mean of few samples jump, the
first prediction of each process, isn't in it (`knative.rollout.metrics.counters`); how much it varies otherwise is
measured from window to window.
"""

from __future__ import annotations

import math

from knative.rollout.analysis.assessment import Assessment, AssessmentResult, false_alarm
from knative.rollout.analysis.sequential_tests import chance_of_ratio
from knative.rollout.metrics.windows import WINDOW_S, WindowTimes
from knative.rollout.rollout_state import RolloutState

ENOUGH_WINDOWS = 8
"""Windows of each revision that measure how much its mean time varies."""
LEAST_DEVIATION = 0.02
"""Standard deviation of a ratio that is assumed at least: two replicas on two nodes differ by as much."""
LEAST_EFFECT = math.log(1.05)
"""Of `max_latency_ratio`; one of 1.0 would need endlessly many requests."""

TOLERATED = 0.5
"""Share of the logarithm of `max_latency_ratio` up to which times are taken for as good as equal: with a ratio of 1.5 a
revision that takes up to 1.22 times as long is rolled back in at most 1 % of rollouts."""


def judge_times(state: RolloutState) -> Assessment:
    """Compare mean times of predictions of the present step."""
    settings = state.settings
    new, old = state.counts.step(state.new), state.counts.step(state.old)
    if min(new.timed, old.timed) < settings.min_requests / 2:
        told = "times aren't compared: too few that were not the first of their process" if new.judged else ""
        return Assessment(finding=AssessmentResult.SILENT, evidence=told)
    evidence = f"a prediction takes {new.mean_ms:.1f} ms (before: {old.mean_ms:.1f})"
    if new.mean_ms <= old.mean_ms * settings.max_latency_ratio:
        return Assessment(finding=AssessmentResult.FINE, evidence=evidence)
    measured = state.counts.windows.times
    new_times, old_times = measured.get(state.new, WindowTimes()), measured.get(state.old, WindowTimes())
    windows = min(new_times.windows, old_times.windows)
    if windows < ENOUGH_WINDOWS:
        why = f"it looks slow, and {windows} of {ENOUGH_WINDOWS} times of {WINDOW_S:.0f} s are measured"
        return Assessment(finding=AssessmentResult.OPEN, evidence=evidence, why=why)
    if _chance(new_times, old_times, settings.max_latency_ratio) <= false_alarm(state, judges=2):
        return Assessment(finding=AssessmentResult.WORSE, evidence=evidence, why="it is too slow")
    return Assessment(
        finding=AssessmentResult.OPEN, evidence=evidence, why="it looks slow, and times vary too much to tell"
    )


def _chance(new: WindowTimes, old: WindowTimes, most: float) -> float:
    """How likely chance shows such a ratio of two means that are `TOLERATED`; 1: the closed windows show less.

    A ratio that is allowed must not be rolled back because it is measured badly and isn't exactly 1. So what is tested
    is the part of it beyond the middle between equal times and the ratio that is allowed.
    """
    if not old.mean_s or new.mean_s <= old.mean_s * most:
        return 1.0
    ratio = math.log(new.mean_s / old.mean_s) - TOLERATED * math.log(most)
    # Few windows measure a variance badly; Student's t has this much more of it than the normal distribution.
    variance = sum(one.variance_of_mean / one.mean_s**2 * (one.windows - 1) / (one.windows - 3) for one in (new, old))
    return chance_of_ratio(ratio, max(variance, LEAST_DEVIATION**2), max(LEAST_EFFECT, math.log(most)))
