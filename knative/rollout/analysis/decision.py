"""What to do with a rollout next: one pure function of its state, of what was seen, and of the time.

Judges say what the requests of the present step show (`knative.rollout.analysis.assessment`); here their verdicts
become a decision: one that is bad rolls back, all that are good let the step pass, and anything else waits until the
deadline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from knative.rollout.analysis.assessment import Assessment, AssessmentResult, Judge
from knative.rollout.analysis.error_rate import judge_errors
from knative.rollout.analysis.latency import judge_times
from knative.rollout.rollout_state import RolloutPhase, RolloutState
from knative.rollout.traffic import Traffic, render_traffic

JUDGES: tuple[Judge, ...] = (judge_errors, judge_times)
"""Who is asked about a revision that answers requests."""


class RolloutAction(StrEnum):
    """What is done."""

    WAIT = "wait"
    ADVANCE = "advance"
    FINISH = "finish"
    ROLL_BACK = "roll back"
    HOLD = "hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutDecision:
    """What is done, and why.

    Attributes:
        verb: What.
        percent: The new revision's share from now on.
        reason: For people; never empty.
    """

    verb: RolloutAction
    percent: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionHealth:
    """A revision as Knative sees it.

    Attributes:
        name: Of the revision.
        exists: Whether it is there: Knative deletes old ones that nothing leads to.
        ready: Its condition Ready; None: nobody knows yet.
        message: What it says of that.
    """

    name: str
    exists: bool = True
    ready: bool | None = True
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutObservation:
    """What was seen, beside what replicas counted (that is in the state).

    Attributes:
        new: The revision that is to serve.
        old: The one that served before; None: there is none.
        traffic: The shares as they are, `LATEST` unresolved.
        unread: Pods that could not be asked, with the reason.
    """

    new: RevisionHealth
    old: RevisionHealth | None = None
    traffic: Traffic
    unread: Mapping[str, str] = field(default_factory=dict)


def decide_rollout(
    state: RolloutState, seen: RolloutObservation, now: float, judges: Sequence[Judge] = JUDGES
) -> RolloutDecision:
    """What to do now.

    Args:
        state: Of a rollout that is advancing, with what replicas have counted until now.
        seen: The rest.
        now: Unix seconds. A clock that went back makes a step longer, never shorter.
        judges: Who is asked about a revision that answers requests.
    """
    if state.phase is not RolloutPhase.ADVANCING:
        return _say(RolloutAction.WAIT, state, state.reason or state.phase.value)
    if state.traffic and dict(seen.traffic) != dict(state.traffic):
        was, found = render_traffic(state.traffic), render_traffic(seen.traffic)
        return _say(RolloutAction.HOLD, state, f"somebody else changed the shares from {was} to {found}")
    if seen.old is not None and not seen.old.exists:
        return _say(
            RolloutAction.HOLD, state, f"{state.old} is gone: nothing to compare with, and nothing to go back to"
        )
    elapsed_s = max(0.0, now - state.since)
    if not seen.new.exists or seen.new.ready is not True:
        return _unready(state, seen.new, elapsed_s)
    if seen.old is None:
        return RolloutDecision(
            verb=RolloutAction.FINISH, percent=100, reason="it is ready, and there is none before it"
        )
    if state.percent == 0:
        return _step(state, "it is ready")
    return _judge(state, seen, elapsed_s, judges)


def _unready(state: RolloutState, new: RevisionHealth, elapsed_s: float) -> RolloutDecision:
    said = f": {new.message}" if new.message else ""
    if not state.old:  # nothing else could serve, so there is nothing better to do
        return _say(RolloutAction.WAIT, state, f"{new.name} isn't ready{said}")
    if not new.exists:
        return RolloutDecision(verb=RolloutAction.ROLL_BACK, percent=0, reason=f"{new.name} is gone")
    if new.ready is False:
        return RolloutDecision(verb=RolloutAction.ROLL_BACK, percent=0, reason=f"{new.name} failed{said}")
    if elapsed_s >= state.settings.deadline_s:
        return _say(RolloutAction.HOLD, state, f"{new.name} isn't ready after {elapsed_s:.0f} s{said}")
    return _say(RolloutAction.WAIT, state, f"{new.name} isn't ready yet{said}")


def _judge(state: RolloutState, seen: RolloutObservation, elapsed_s: float, judges: Sequence[Judge]) -> RolloutDecision:
    settings = state.settings
    verdicts = [judge(state) for judge in judges]
    evidence = _evidence(state, seen, verdicts)
    if worse := [verdict for verdict in verdicts if verdict.finding is AssessmentResult.WORSE]:
        return RolloutDecision(verb=RolloutAction.ROLL_BACK, percent=0, reason=f"{worse[0].why}; {evidence}")
    missing = [verdict.why for verdict in verdicts if verdict.finding is AssessmentResult.OPEN]
    if missing and elapsed_s >= settings.deadline_s:
        return _say(RolloutAction.HOLD, state, f"undecided after {elapsed_s:.0f} s: {', '.join(missing)}; {evidence}")
    if missing:
        return _say(RolloutAction.WAIT, state, f"{', '.join(missing)}; {evidence}")
    if elapsed_s < settings.step_s:
        return _say(RolloutAction.WAIT, state, f"{elapsed_s:.0f} of {settings.step_s:.0f} s; {evidence}")
    return _step(state, evidence)


def _step(state: RolloutState, why: str) -> RolloutDecision:
    percent = next((step for step in state.settings.percents() if step > state.percent), 100)
    return RolloutDecision(
        verb=RolloutAction.FINISH if percent == 100 else RolloutAction.ADVANCE, percent=percent, reason=why
    )


def _evidence(state: RolloutState, seen: RolloutObservation, verdicts: Sequence[Assessment]) -> str:
    parts = [verdict.evidence for verdict in verdicts if verdict.evidence]
    if refused := state.counts.step(state.new).refused:
        parts.append(f"{refused} were refused (4xx)")
    if seen.unread:
        pod, why = next(iter(sorted(seen.unread.items())))
        parts.append(f"{len(seen.unread)} of the pods can't be asked ({pod}: {why[:120]})")
    return ", ".join(parts)


def _say(verb: RolloutAction, state: RolloutState, reason: str) -> RolloutDecision:
    return RolloutDecision(verb=verb, percent=state.percent, reason=reason)
