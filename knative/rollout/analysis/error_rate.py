"""Judges of errors and of refusals: whether the new revision fails, or refuses, more often than the old one. Pure.

Only requests of the same time are compared. If requests from before the step were included, they would show an earlier
error rate, and failures that any revision would have now (a disk is full) would count against the new revision. In the
same way, a refusal that the sender causes (a camera sends broken images) hits both revisions by their shares, so only
refusals by the new revision alone count against it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from knative.rollout.analysis.assessment import MISSED, Assessment, AssessmentResult, false_alarm
from knative.rollout.analysis.sequential_tests import chance_of_split, evidence_of_no_worse
from knative.rollout.metrics.counters import RequestCounters, RevisionCounts
from knative.rollout.rollout_state import RolloutState

FAILURE_LIMIT = 10
"""Number of failed requests that ends a rollout at once if the new revision has answered none.

Argo Rollouts ends an analysis after 4 errors in a row, and Flagger after `threshold` failed checks. Their checks are
summaries of many requests; here single requests are counted.

Source: argoproj/argo-rollouts, docs/features/analysis.md (`failureLimit`, `consecutiveErrorLimit`); fluxcd/flagger,
docs/gitbook/usage/how-it-works.md (`threshold`)."""
SUSPICION = 0.05
"""A step doesn't pass when the probability that chance alone explains the increase of the error rate is at or below
this value. A rollback needs a much smaller probability."""
GROSS_INCREASE = 0.1
"""Increase of the error rate above which a step doesn't pass, whatever the new revision's share, and even if all
requests failed at one moment.

Failures at one moment alone don't roll a revision back."""
LEAST_MARGIN = 0.001
"""Minimum increase of the error rate that is tested. With `max_error_increase: 0`, the test would otherwise need
infinitely many requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    """The words of a judge for what it counts."""

    counted: str
    always: str
    worse: str
    maybe: str
    keeps: str
    few: str
    undecided: str


_ERRORS = _Words(
    counted="failed",
    always="the new revision has answered no request",
    worse="the new revision fails more often",
    maybe="the new revision may fail more often",
    keeps="the new revision keeps failing",
    few="too few requests",
    undecided="too few requests to decide",
)
_REFUSALS = _Words(
    counted="were refused (4xx)",
    always="the new revision refuses every request",
    worse="the new revision refuses requests more often",
    maybe="the new revision may refuse requests more often",
    keeps="the new revision keeps refusing requests",
    few="too few requests to decide about refusals",
    undecided="too few requests to decide about refusals",
)


def judge_errors(state: RolloutState) -> Assessment:
    """Assess the new revision by its failed requests in the present step, compared with those of the old revision."""
    return _judge(state, state.counts, _ERRORS, _margin(state))


def judge_refusals(state: RolloutState) -> Assessment:
    """Assess the new revision by the requests that it refused in the present step, compared with the old revision's.

    The increase that must be ruled out is that of errors, or the old revision's own share of refusals if that is more:
    where a camera sends broken images all the time, ruling out a smaller increase would take too many requests.
    """
    counts = state.counts.refusals
    new, old = counts.step(state.new), counts.step(state.old)
    if not new.failed and not old.failed:
        return Assessment(finding=AssessmentResult.SILENT, evidence="")
    return _judge(state, counts, _REFUSALS, max(_margin(state), old.error_rate))


def _judge(state: RolloutState, counts: RevisionCounts, words: _Words, margin: float) -> Assessment:
    """Assess the new revision by the failed requests in `counts`.

    Args:
        state: State of the rollout.
        counts: Counts in which the requests that count against a revision are the failed ones.
        words: Words for these requests.
        margin: Increase of their share that must be ruled out for the step to pass.
    """
    settings = state.settings
    new, old = counts.step(state.new), counts.step(state.old)
    steady = counts.steady(state.new, state.old, apart_from=state.new)
    evidence = _evidence(new, old, new.failed - steady[0].failed, words)

    def found(finding: AssessmentResult, why: str = "") -> Assessment:
        return Assessment(finding=finding, evidence=evidence, why=why)

    if new.failed >= FAILURE_LIMIT and not new.answered and old.answered >= max(1, old.failed):
        # A sender may cause many refusals, so ten of them say something only if the old revision has few.
        chance = chance_of_split(new.failed, new.judged, old.failed, old.judged) if words is _REFUSALS else 0.0
        if chance <= false_alarm(state):
            return found(AssessmentResult.WORSE, words.always)
    if new.judged < settings.min_requests:
        return found(AssessmentResult.OPEN, f"{words.few}: {new.judged} of {settings.min_requests}")
    chance = _chance(*steady, settings.max_error_increase)
    odds = f"by chance, this happens in fewer than 1 of {_whole(1 / max(chance, 1e-09)):,} steps"
    if chance <= false_alarm(state):
        return found(AssessmentResult.WORSE, f"{words.worse} ({odds})")
    if chance <= SUSPICION:
        return found(AssessmentResult.OPEN, f"{words.maybe} ({odds})")
    if new.error_rate > old.error_rate + max(settings.max_error_increase, GROSS_INCREASE):
        return found(AssessmentResult.OPEN, f"too few requests to decide whether {words.keeps}")
    calm = counts.steady(state.new, state.old, apart_from=state.old)
    if (missing := _missing(*calm, margin)) <= 0:
        return found(AssessmentResult.FINE)
    why = f"{words.undecided}: {_requests_missing(*calm, margin, missing)}"
    return found(AssessmentResult.OPEN, why)


def _evidence(new: RequestCounters, old: RequestCounters, together: int, words: _Words) -> str:
    sudden = new.answered and together > max(2, new.failed / 2)
    suffix = f", {together:,} of them within one or two time windows" if sudden else ""
    return (
        f"{new.failed:,} of {new.judged:,} requests {words.counted}{suffix} (before: {old.failed:,} of {old.judged:,})"
    )


def _chance(new: RequestCounters, old: RequestCounters, allowed: float) -> float:
    """Return the probability that chance alone shows the observed increase of the error rate; 1 without an increase.

    Args:
        new: The new revision's requests without the windows in which most of them failed, since one incident alone
            must not decide.
        old: The old revision's requests in the same windows.
        allowed: Increase of the error rate that is acceptable.
    """
    if new.error_rate <= old.error_rate + allowed:
        return 1.0
    return chance_of_split(new.failed, new.judged, old.failed, old.judged)


def _missing(new: RequestCounters, old: RequestCounters, margin: float, more: float = 0.0) -> float:
    """Return how much evidence is missing to rule out an increase of the error rate by `margin`; 0 or less if none is.

    Args:
        new: The new revision's requests without the windows in which most of the old revision's requests failed: an
            incident that made the old revision fail must not make the new one look better.
        old: The old revision's requests in the same windows.
        margin: Increase of the error rate to rule out.
        more: Number of further requests to assume, as a multiple of the counted ones; both revisions then fail at the
            rate that they have in common until now.
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
    """Return the increase of the error rate that must be ruled out for the step to pass.

    In the last step it is `max_error_increase`. In an earlier step it is larger: the increase for which, at the new
    revision's present share, the error rate of all requests together rises by `max_error_increase`. A small share
    limits the harm of a bad revision, so the step needs less evidence.
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
    """Round a number down or up so that only its first digit isn't 0, such as 4321 to 4000 or 5000."""
    unit: int = 10 ** max(0, math.floor(math.log10(max(1.0, number))))
    return (math.ceil(number / unit) if up else math.floor(number / unit)) * unit
