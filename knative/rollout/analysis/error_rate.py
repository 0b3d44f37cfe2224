"""Judge of the error rate: whether the new revision fails more often than the old one. Pure.

Only requests of the same time are compared. Requests from before the step would show an earlier error rate, and a
camera that sends broken images since then, or a disk that fills, would be blamed on the new revision.
"""

from __future__ import annotations

import math

from knative.rollout.analysis.assessment import MISSED, Assessment, AssessmentResult, false_alarm
from knative.rollout.analysis.sequential_tests import chance_of_split, evidence_of_no_worse
from knative.rollout.metrics.counters import RequestCounters
from knative.rollout.rollout_state import RolloutState

FAILURE_LIMIT = 10
"""Number of failed requests, without any answered one, that ends a rollout at once.

Argo Rollouts ends an analysis after 4 errors in a row and Flagger after `threshold` failed checks; those are checks of
many requests, these are requests.

Source: argoproj/argo-rollouts, docs/features/analysis.md (`failureLimit`, `consecutiveErrorLimit`); fluxcd/flagger,
docs/gitbook/usage/how-it-works.md (`threshold`)."""
SUSPICION = 0.05
"""Probability at or below which a step doesn't pass, although it is far from being rolled back."""
GROSS_INCREASE = 0.1
"""Increase of the error rate above which a step doesn't pass, at any share and however suddenly the requests failed.

Failures at one moment don't roll a revision back, but they don't let it pass either."""
LEAST_MARGIN = 0.001
"""Smallest increase that differs from none; `max_error_increase: 0` would need infinitely many requests."""


def judge_errors(state: RolloutState) -> Assessment:
    """Compare the failed requests of both revisions in the present step."""
    settings, counts = state.settings, state.counts
    new, old = counts.step(state.new), counts.step(state.old)
    steady = counts.steady(state.new, state.old, apart_from=state.new)
    evidence = _evidence(new, old, new.failed - steady[0].failed)
    if new.failed >= FAILURE_LIMIT and not new.answered and old.answered >= old.failed:
        return Assessment(
            finding=AssessmentResult.WORSE, evidence=evidence, why="the new revision has answered no request"
        )
    if new.judged < settings.min_requests:
        why = f"too few requests: {new.judged} of {settings.min_requests}"
        return Assessment(finding=AssessmentResult.OPEN, evidence=evidence, why=why)
    chance = _chance(*steady, settings.max_error_increase)
    odds = f"by chance, this happens in fewer than 1 of {_whole(1 / max(chance, 1e-09)):,} steps"
    if chance <= false_alarm(state, judges=2):
        return Assessment(
            finding=AssessmentResult.WORSE, evidence=evidence, why=f"the new revision fails more often ({odds})"
        )
    if chance <= SUSPICION:
        return Assessment(
            finding=AssessmentResult.OPEN, evidence=evidence, why=f"the new revision may fail more often ({odds})"
        )
    if new.error_rate > old.error_rate + max(settings.max_error_increase, GROSS_INCREASE):
        why = "too few requests to decide whether the new revision keeps failing"
        return Assessment(finding=AssessmentResult.OPEN, evidence=evidence, why=why)
    calm = counts.steady(state.new, state.old, apart_from=state.old)
    if (missing := _missing(*calm, _margin(state))) <= 0:
        return Assessment(finding=AssessmentResult.FINE, evidence=evidence)
    why = f"too few requests to decide: {_requests_missing(*calm, _margin(state), missing)}"
    return Assessment(finding=AssessmentResult.OPEN, evidence=evidence, why=why)


def _evidence(new: RequestCounters, old: RequestCounters, together: int) -> str:
    sudden = new.answered and together > max(2, new.failed / 2)
    suffix = f", {together:,} of them within one or two time windows" if sudden else ""
    return f"{new.failed:,} of {new.judged:,} requests failed{suffix} (before: {old.failed:,} of {old.judged:,})"


def _chance(new: RequestCounters, old: RequestCounters, allowed: float) -> float:
    """Return the probability that chance alone shows such an increase of failures; 1 when there is none.

    Args:
        new: Requests without the windows in which most of the new revision's failed, since one event must never decide.
        old: The old revision's requests in the same windows.
        allowed: Increase of the error rate that is acceptable.
    """
    if new.error_rate <= old.error_rate + allowed:
        return 1.0
    return chance_of_split(new.failed, new.judged, old.failed, old.judged)


def _missing(new: RequestCounters, old: RequestCounters, margin: float, more: float = 0.0) -> float:
    """Return how much evidence is missing to rule out an increase by `margin`; none is missing at 0 and below.

    Args:
        new: Requests without the windows in which most of the old revision's failed, since one event makes it no worse.
        old: The old revision's requests in the same windows.
        margin: Increase of the error rate to rule out.
        more: Further requests, as a multiple of these; both revisions then fail at their common rate until now.
    """
    rate = (new.failed + old.failed) / max(1, new.judged + old.judged)
    evidence = evidence_of_no_worse(
        new.failed + more * new.judged * rate,
        new.judged * (1 + more),
        old.failed + more * old.judged * rate,
        old.judged * (1 + more),
        margin,
    )
    return -math.log(MISSED) - evidence


def _margin(state: RolloutState) -> float:
    """Return the increase of the error rate that the step must rule out.

    Before the last step it is the increase that would raise the error rate of all requests together by
    `max_error_increase` at the new revision's present share: a small share limits the harm of a bad revision, so it
    needs less evidence.
    """
    least = max(LEAST_MARGIN, state.settings.max_error_increase)
    last = all(step <= state.percent for step in state.settings.percents()[:-1])
    return least if last else least * 100 / state.percent


def _requests_missing(new: RequestCounters, old: RequestCounters, margin: float, missing: float) -> str:
    after_as_many = _missing(new, old, margin, more=1.0)
    if after_as_many >= missing:
        return "more requests like these would not decide"
    number = _whole(new.judged * missing / (missing - after_as_many), up=True)
    return f"about {number:,} more are needed if the new revision is as good as the old one"


def _whole(number: float, *, up: bool = False) -> int:
    """Round down or up to a number with one digit that isn't 0."""
    unit: int = 10 ** max(0, math.floor(math.log10(max(1.0, number))))
    return (math.ceil(number / unit) if up else math.floor(number / unit)) * unit
