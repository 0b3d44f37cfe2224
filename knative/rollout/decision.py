"""The decision on a rollout's next action, from its state, the observed revisions and the time. Pure.

Judges assess the requests of the present step (`knative.rollout.judges`). One bad result rolls back; the
step passes if all results are good; otherwise it waits until its deadline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from knative.rollout.judges import Assessment, AssessmentResult, Judge, judge_errors, judge_refusals, judge_times
from knative.rollout.state import RolloutPhase, RolloutState, Traffic, render_traffic

JUDGES: tuple[Judge, ...] = (judge_errors, judge_refusals, judge_times)
"""The judges that assess a new revision once it answers requests."""
SILENT_REQUESTS, SILENT_S = 100, 300.0
"""Number of requests that a new revision must have got in a step, and seconds that the step must have lasted, for a
revision that counted none of them to be rolled back.

The number is estimated from the requests that the old revision answered, by the shares of both. Chance alone gives a
revision none of 100 expected requests with a probability of e^-100. The time is Knative's default limit for one
request; after it, a slow first start is no explanation either."""


class RolloutAction(StrEnum):
    """The next action of a rollout, as `decide_rollout` decided."""

    WAIT = "wait"
    ADVANCE = "advance"
    FINISH = "finish"
    ROLL_BACK = "roll back"
    HOLD = "hold"


class RolloutDecision(NamedTuple):
    """The next action of a rollout, with its reason.

    Attributes:
        action: The action.
        percent: The new revision's share of requests from now on, in percent. A rollout that is held goes back to 0,
            unless another user has changed the shares or the old revision is gone.
        reason: Reason for people; never empty.
    """

    action: RolloutAction
    percent: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionHealth:
    """The health of a revision as Knative reports it.

    Attributes:
        name: Name of the revision.
        exists: Whether the revision exists; Knative deletes old revisions that no route uses.
        ready: Condition Ready of the revision; None while it is unknown.
        message: Message of that condition.
    """

    name: str
    exists: bool = True
    ready: bool | None = True
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutObservation:
    """The observation of both revisions by Knative's status. The requests that replicas have counted are in the state.

    Attributes:
        new: The revision that is rolled out.
        old: The revision that served before; None when there is none.
        traffic: Traffic of the Service as it is set; a share of the latest revision has the key `LATEST`.
        unread: Pods that could not be read, with the reason.
    """

    new: RevisionHealth
    old: RevisionHealth | None = None
    traffic: Traffic
    unread: Mapping[str, str] = field(default_factory=dict)


def decide_rollout(
    state: RolloutState, seen: RolloutObservation, now: float, judges: Sequence[Judge] = JUDGES
) -> RolloutDecision:
    """Decide the rollout's next action.

    Args:
        state: State of an advancing rollout, including the counters that were read until now.
        seen: The observation of both revisions.
        now: Unix time in seconds. A clock that was set back makes a step longer, never shorter.
        judges: Judges that assess a revision that answers requests.
    """
    percent, elapsed_s = state.percent, max(0.0, now - state.since)
    if state.phase is not RolloutPhase.ADVANCING:
        return RolloutDecision(RolloutAction.WAIT, percent, state.reason or state.phase.value)
    if state.traffic and dict(seen.traffic) != dict(state.traffic):
        was, found = render_traffic(state.traffic), render_traffic(seen.traffic)
        return RolloutDecision(RolloutAction.HOLD, percent, f"another user changed the shares from {was} to {found}")
    if seen.old is not None and not seen.old.exists:
        reason = f"{state.old} was deleted, so there is no revision to compare with or to roll back to"
        return RolloutDecision(RolloutAction.HOLD, percent, reason)
    if not seen.new.exists or seen.new.ready is not True:
        return _decide_unready(state, seen.new, elapsed_s)
    if seen.old is None:
        return RolloutDecision(RolloutAction.FINISH, 100, "the revision is ready, and it is the first one")
    if percent == 0:
        return _decide_step(state, "the revision is ready")
    return _decide_by_judges(state, seen, elapsed_s, judges)


def _decide_unready(state: RolloutState, new: RevisionHealth, elapsed_s: float) -> RolloutDecision:
    suffix = f": {new.message}" if new.message else ""
    if not state.old:  # no other revision could serve, so waiting is the only useful action
        return RolloutDecision(RolloutAction.WAIT, state.percent, f"{new.name} isn't ready{suffix}")
    if not new.exists:
        return RolloutDecision(RolloutAction.ROLL_BACK, 0, f"{new.name} was deleted")
    if new.ready is False:
        return RolloutDecision(RolloutAction.ROLL_BACK, 0, f"{new.name} failed{suffix}")
    if elapsed_s >= state.settings.deadline_s:
        return RolloutDecision(RolloutAction.HOLD, 0, f"{new.name} isn't ready after {elapsed_s:.0f} s{suffix}")
    return RolloutDecision(RolloutAction.WAIT, state.percent, f"{new.name} isn't ready yet{suffix}")


def _decide_by_judges(
    state: RolloutState, seen: RolloutObservation, elapsed_s: float, judges: Sequence[Judge]
) -> RolloutDecision:
    settings, verdicts = state.settings, [judge(state) for judge in judges]
    evidence = _describe_evidence(seen, verdicts)
    worse = [verdict.why for verdict in verdicts if verdict.finding is AssessmentResult.WORSE]
    if reason := next(iter(worse), "") or _describe_silence(state, seen, elapsed_s):
        return RolloutDecision(RolloutAction.ROLL_BACK, 0, f"{reason}; {evidence}")
    missing = ", ".join(verdict.why for verdict in verdicts if verdict.finding is AssessmentResult.OPEN)
    if missing and elapsed_s >= settings.deadline_s:
        return RolloutDecision(RolloutAction.HOLD, 0, f"undecided after {elapsed_s:.0f} s: {missing}; {evidence}")
    if not missing and elapsed_s < settings.step_s:
        missing = f"{elapsed_s:.0f} of {settings.step_s:.0f} s of the step have passed"
    if missing:
        return RolloutDecision(RolloutAction.WAIT, state.percent, f"{missing}; {evidence}")
    return _decide_step(state, evidence)


def _describe_silence(state: RolloutState, seen: RolloutObservation, elapsed_s: float) -> str:
    """Return the reason to roll back a revision that answers nothing while the old one answers; empty for none.

    A pod that can't be read may have answered, so its revision isn't rolled back for that.
    """
    new, old = state.counts.step(state.new), state.counts.step(state.old)
    expected = old.answered * state.percent / max(1, 100 - state.percent)
    if new.judged or new.refused or seen.unread or expected < SILENT_REQUESTS or elapsed_s < SILENT_S:
        return ""
    return f"the new revision has answered none of about {expected:,.0f} requests"


def _decide_step(state: RolloutState, reason: str) -> RolloutDecision:
    percent = next((step for step in state.settings.percents() if step > state.percent), 100)
    return RolloutDecision(RolloutAction.FINISH if percent == 100 else RolloutAction.ADVANCE, percent, reason)


def _describe_evidence(seen: RolloutObservation, verdicts: Sequence[Assessment]) -> str:
    parts = [verdict.evidence for verdict in verdicts if verdict.evidence]
    if seen.unread:
        pod, reason = min(seen.unread.items())
        parts.append(f"the metrics of {len(seen.unread)} of the pods can't be read ({pod}: {reason[:120]})")
    return ", ".join(parts)
