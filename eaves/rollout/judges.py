"""Judges: functions that assess a new revision by one measure, errors, refusals or latency. Pure.

Only requests of the same time are compared. If requests from before the step were included, they would show an earlier
error rate, and failures that any revision would have now (a disk is full) would count against the new revision. In the
same way, a refusal that the sender causes (a camera sends broken images) hits both revisions by their shares, so only
refusals by the new revision alone count against it.

Times are compared within nodes, since one node may be several times as fast as another; where no node has run both
revisions, slower times hold a rollout and never roll it back. Means are compared, not quantiles: the buckets of a
function's histogram are 2 to 2.5 times apart, so a quantile can't show a model that became 1.5 times as slow, while sum
and count are exact. The first prediction of each process takes longer and would distort a mean of few predictions, so
it is left out (`eaves.rollout.counters`). How much the mean varies is measured from one time window to the next.

Labels that people give to photos of the audit sample while a rollout advances judge, too: by pairs of answers, as the
gate does. Without labels this judge is silent, so nobody needs to label for a promotion.

Another judge is one more such function in `eaves.rollout.plan.JUDGES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from eaves.rollout.counters import WINDOW_S, RequestCounters, RevisionCounts, WindowTimes
from eaves.rollout.sequential_tests import chance_of_ratio, chance_of_split, evidence_of_no_worse
from eaves.rollout.state import RolloutState

FALSE_ALARMS = 0.01
"""Probability, over a whole rollout and all judges, that a revision as good as the old one is rolled back."""
TESTS = 4
"""Number of tests that share `FALSE_ALARMS` equally: those of errors, of refusals, of latency and of labels."""
MISSED = 0.05
"""Probability that the last step passes a revision whose increase of the error rate is as large as
`max_error_increase`."""


class AssessmentResult(StrEnum):
    """The result of a judge, a function that assesses a new revision by one measure.

    One `WORSE` rolls the revision back. A step passes when no judge returns `WORSE` or `OPEN`.
    """

    WORSE = "worse"
    FINE = "fine"
    OPEN = "open"
    """There are too few requests for a decision."""
    SILENT = "silent"
    """The judge has no data for a decision, and doesn't prevent the step from passing."""


class Assessment(NamedTuple):
    """The assessment of a new revision by one judge.

    Attributes:
        finding: Result of the judge.
        evidence: Measurements on which the finding is based, as a text for people.
        why: For `WORSE`, what is wrong; for `OPEN`, what is missing.
    """

    finding: AssessmentResult
    evidence: str
    why: str = ""


Judge = Callable[[RolloutState], Assessment]


def false_alarm(state: RolloutState) -> float:
    """Return the allowed probability of a wrong rollback by one judge in one step: its share of `FALSE_ALARMS`."""
    return FALSE_ALARMS / (TESTS * max(1, len(state.settings.steps)))


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
MIN_MARGIN = 0.001
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
        return Assessment(AssessmentResult.SILENT, "")
    return _judge(state, counts, _REFUSALS, max(_margin(state), old.error_rate))


def _judge(state: RolloutState, counts: RevisionCounts, words: _Words, margin: float) -> Assessment:
    """Assess the new revision by the failed requests in `counts`.

    Args:
        counts: Counts in which the requests that count against a revision are the failed ones.
        words: Words for these requests.
        margin: Increase of their share that must be ruled out for the step to pass.
    """
    settings = state.settings
    new, old = counts.step(state.new), counts.step(state.old)
    steady = counts.steady(state.new, state.old, apart_from=state.new)
    evidence = _evidence(new, old, new.failed - steady[0].failed, words)

    if new.failed >= FAILURE_LIMIT and not new.answered and old.answered >= max(1, old.failed):
        # A sender may cause many refusals, so ten of them say something only if the old revision has few.
        chance = chance_of_split(new.failed, new.judged, old.failed, old.judged) if words is _REFUSALS else 0.0
        if chance <= false_alarm(state):
            return Assessment(AssessmentResult.WORSE, evidence, words.always)
    if new.judged < settings.min_requests:
        return Assessment(AssessmentResult.OPEN, evidence, f"{words.few}: {new.judged} of {settings.min_requests}")
    chance = _chance(*steady, settings.max_error_increase)
    odds = f"by chance, this happens in fewer than 1 of {_whole(1 / max(chance, 1e-09)):,} steps"
    if chance <= false_alarm(state):
        return Assessment(AssessmentResult.WORSE, evidence, f"{words.worse} ({odds})")
    if chance <= SUSPICION:
        return Assessment(AssessmentResult.OPEN, evidence, f"{words.maybe} ({odds})")
    if new.error_rate > old.error_rate + max(settings.max_error_increase, GROSS_INCREASE):
        return Assessment(AssessmentResult.OPEN, evidence, f"too few requests to decide whether {words.keeps}")
    calm = counts.steady(state.new, state.old, apart_from=state.old)
    if (missing := _missing(*calm, margin)) <= 0:
        return Assessment(AssessmentResult.FINE, evidence)
    why = f"{words.undecided}: {_requests_missing(*calm, margin, missing)}"
    return Assessment(AssessmentResult.OPEN, evidence, why)


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
    least = max(MIN_MARGIN, state.settings.max_error_increase)
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


ENOUGH_WINDOWS = 8
"""Minimum number of time windows of each revision, from which the variation of its mean time is measured."""
MIN_DEVIATION = 0.02
"""Minimum standard deviation that is assumed for the ratio of two mean times, since two replicas on two nodes differ by
as much."""
MIN_EFFECT = math.log(1.05)
"""Minimum logarithm of `max_latency_ratio` that the test uses. With a ratio of 1.0, the test would otherwise need
infinitely many requests."""

TOLERATED = 0.5
"""Tolerance of the latency test: mean times count as equal up to this share of the logarithm of `max_latency_ratio`.

With a ratio of 1.5, a revision that takes up to 1.22 times as long is rolled back in at most 1 % of rollouts."""


def judge_times(state: RolloutState) -> Assessment:
    """Assess the new revision by its mean time of a prediction in the present step, compared with the old one's."""
    settings, counts = state.settings, state.counts
    new, old = counts.step(state.new), counts.step(state.old)
    if min(new.timed, old.timed) < settings.min_requests / 2:
        note = "times are not compared: there are too few predictions besides the first one of each process"
        return Assessment(AssessmentResult.SILENT, note if new.judged else "")
    names = counts.pairs(state.new, state.old)
    steps = ((counts.step(one), counts.step(other)) for one, other in names)
    both = [(one, other) for one, other in steps if one.timed and other.timed]
    shared = sum(one.timed for one, _ in both)
    is_shared = min(shared, sum(other.timed for _, other in both)) >= settings.min_requests / 2
    mean_ms, before_ms = new.mean_ms, old.mean_ms
    if is_shared:  # that of the old revision if its predictions had been spread over nodes as the new one's
        mean_ms = sum(one.seconds for one, _ in both) * 1000 / shared
        before_ms = sum(one.timed * other.mean_ms for one, other in both) / shared
    evidence = f"a prediction takes {mean_ms:.1f} ms (before: {before_ms:.1f} ms)"
    if mean_ms <= before_ms * settings.max_latency_ratio:
        return Assessment(AssessmentResult.FINE, evidence)
    if not is_shared:
        why = "the new revision seems slow, but hardly any node has run both revisions"
        return Assessment(AssessmentResult.OPEN, evidence, why)
    times = counts.windows.times
    measured = [(times.get(one, WindowTimes()), times.get(other, WindowTimes())) for one, other in names]
    windows = max(min(one.windows, other.windows) for one, other in measured)
    if windows < ENOUGH_WINDOWS:
        missing = f"{windows} of {ENOUGH_WINDOWS} time windows of {WINDOW_S:.0f} s are measured"
        return Assessment(AssessmentResult.OPEN, evidence, f"the new revision seems slow; {missing}")
    if _chance_of_times(measured, settings.max_latency_ratio) <= false_alarm(state):
        return Assessment(AssessmentResult.WORSE, evidence, "the new revision is too slow")
    why = "the new revision seems slow, but the times vary too much to decide"
    return Assessment(AssessmentResult.OPEN, evidence, why)


def _chance_of_times(nodes: Sequence[tuple[WindowTimes, WindowTimes]], most: float) -> float:
    """Return the probability that chance alone shows the observed ratio of mean times; 1 when the ratio is allowed.

    A revision whose true ratio is within the tolerance (`TOLERATED`) must not be rolled back because of inexact
    measurements. So the test uses only the part of the ratio above the tolerance.

    Args:
        nodes: Times of the new and of the old revision on each node; the logarithms of their ratios are averaged, each
            with the inverse of its variance as its weight.
        most: Ratio that is allowed.
    """
    weights, weighted = 0.0, 0.0
    for new, old in nodes:
        if min(new.windows, old.windows) < ENOUGH_WINDOWS or not (new.mean_s and old.mean_s):
            continue
        # Few windows measure a variance badly; Student's t is wider than the normal distribution by this factor.
        spread = [one.variance_of_mean / one.mean_s**2 * (one.windows - 1) / (one.windows - 3) for one in (new, old)]
        weight = 1 / max(sum(spread), MIN_DEVIATION**2)
        weights, weighted = weights + weight, weighted + weight * math.log(new.mean_s / old.mean_s)
    if weighted <= weights * math.log(most):
        return 1.0
    ratio = weighted / weights - TOLERATED * math.log(most)
    return chance_of_ratio(ratio, max(1 / weights, MIN_DEVIATION**2), max(MIN_EFFECT, math.log(most)))


def judge_labels(state: RolloutState) -> Assessment:
    """Assess the new revision by its answers to labelled photos of the audit sample, compared with the old one's.

    Photos that both answer rightly, or both wrongly, say nothing. Of two revisions that are equally good, each of the
    others is right about a photo that tells them apart with a probability of one half.
    """
    audit = state.audit
    if not audit.images:
        return Assessment(AssessmentResult.SILENT, "")
    chance = chance_of_split(audit.lost, 1, audit.gained, 1)
    if audit.lost > audit.gained and chance <= FALSE_ALARMS / TESTS:  # the counts are of the whole rollout
        return Assessment(AssessmentResult.WORSE, "", audit.text)
    return Assessment(AssessmentResult.FINE, audit.text)
