"""The decision on a rollout's next action, and plans: its next state and traffic. Pure.

Judges assess the requests of the present step, and labels (`eaves.rollout.judges`). One bad result rolls back; the step
passes if all results are good; otherwise it waits until its deadline. A plan follows from a decision, a command or a
deploy; it doesn't check whether a revision is ready, which is checked before it is written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple

from eaves.errors import NotFoundError
from eaves.rollout.counters import MetricsReading, accumulate
from eaves.rollout.judges import (
    Assessment,
    AssessmentResult,
    Judge,
    judge_errors,
    judge_labels,
    judge_refusals,
    judge_times,
)
from eaves.rollout.settings import RolloutSettings
from eaves.rollout.state import (
    RolloutPhase,
    RolloutState,
    RolloutStatus,
    Traffic,
    find_largest_share,
    render_traffic,
    split_traffic,
)

JUDGES: tuple[Judge, ...] = (judge_errors, judge_refusals, judge_times, judge_labels)
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
        resumes: Whether a rollout that is held continues by itself when the revision is ready and pinned.
    """

    action: RolloutAction
    percent: int
    reason: str
    resumes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionHealth:
    """The health of a revision as its platform reports it.

    Attributes:
        name: Name of the revision.
        exists: Whether it exists; Knative deletes old revisions without a route, and people delete artifacts.
        ready: Whether it can answer requests, in a cluster its condition Ready; None while that is unknown.
        message: Why it isn't ready; empty when it is, or nothing is known.
    """

    name: str
    exists: bool = True
    ready: bool | None = True
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutObservation:
    """The observation of both revisions by their platform. The requests that replicas have counted are in the state.

    Attributes:
        new: The revision that is rolled out.
        old: The revision that served before; None when there is none.
        traffic: Traffic as the platform has it; a share of the latest revision has the key `LATEST`.
        unread: Replicas that could not be read, with the reason.
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
        reason = f"{new.name} isn't ready after {elapsed_s:.0f} s{suffix}"
        return RolloutDecision(RolloutAction.HOLD, 0, reason, resumes=True)
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


def take_readings(
    state: RolloutState,
    readings: Iterable[MetricsReading],
    present: Iterable[str],
    unread: Collection[str],
    now: float,
) -> RolloutState:
    """Return the state with new readings in its counters.

    Args:
        state: State of the rollout.
        readings: Readings of replicas, and of agents.
        present: Names of all existing replicas.
        unread: Names of replicas that could not be read.
        now: Unix time in seconds.
    """
    counts = accumulate(state.counts, readings, present)
    if state.percent and not state.observed:  # what was counted before doesn't belong to this step
        counts = counts.begin_step(unread)
    return replace(state, counts=counts.close_window(now, state.since), observed=True)


_ENDS = {
    RolloutAction.HOLD: RolloutPhase.HELD,
    RolloutAction.ROLL_BACK: RolloutPhase.ROLLED_BACK,
    RolloutAction.FINISH: RolloutPhase.DONE,
}
"""Phase after an action that ends the rollout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The next state and traffic of a rollout.

    Attributes:
        state: State of the rollout.
        traffic: Traffic to set; None leaves it unchanged.
        needs: Revisions that must exist and must not have failed before the plan is written; the newest one must also
            be ready.
        what: Action, for the outcome: `begin`, `set`, `roll back`, `fix`, or a value of `RolloutAction`.
        reason: Reason for people; empty for the state's own.
    """

    state: RolloutState
    traffic: Traffic | None = None
    needs: tuple[str, ...] = ()
    what: str
    reason: str = ""


def plan_percent(standing: RolloutStatus, percent: int, now: float) -> Plan | None:
    """Plan a share of requests for the newest revision, as chosen by a user; None when it has all of them already.

    From then on, no automatic rollout changes the share of this revision.
    """
    new = _newest(standing)
    old = find_largest_share(standing.shares, apart_from=new) or standing.other
    state, current = _about(standing, old, new), standing.current
    if percent == 100:
        is_done = current is not None and current.phase is RolloutPhase.DONE
        if is_done and dict(standing.traffic) == {new: 100}:
            return None
        return _move(state, RolloutPhase.DONE, {new: 100}, now, "promoted by a user", what="set", needs=(new,))
    if not old:
        raise NotFoundError(
            f"{new} is the only known revision of {standing.name}, so it gets all requests",
            hint="deploy another revision, then set its share",
        )
    return _move(
        replace(state, counts=state.counts.begin_step()),
        RolloutPhase.HELD,
        split_traffic(new, percent, old),
        now,
        f"set to {percent} % by a user",
        what="set",
        needs=(new,) if old in standing.shares else (new, old),
    )


def plan_rollback(standing: RolloutStatus, now: float, *, undo: bool = True) -> Plan | None:
    """Plan to give all requests to the previous revision; return None when it has them already.

    Args:
        undo: Whether a second rollback restores the revision that was rolled back, if it had all requests before. With
            False it does nothing, so that a command for many sites can be repeated for the sites that could not be
            reached.
    """
    new = _newest(standing)
    state = standing.current
    if state is not None and state.phase is RolloutPhase.ROLLED_BACK and dict(standing.traffic) == dict(state.traffic):
        if not undo:
            return None
        if not state.served:
            raise NotFoundError(
                f"{state.new} was rolled back to {state.old} already ({state.reason}), and no earlier revision is "
                "known",
                hint=f"eaves promote {standing.name}   # to send all requests to {state.new} in spite of that",
            )
        why = "the rollback was undone by a user"
        return _move(state, RolloutPhase.DONE, {new: 100}, now, why, what="roll back", needs=(new,))
    old = (state.old if state is not None else "") or standing.other
    if not old:
        why = f" ({standing.fault})" if standing.fault else ""
        raise NotFoundError(
            f"{standing.name} has no known revision before {new}{why}",
            hint=f"kn service update {standing.name} --traffic REVISION=100   # `kn revision list` lists the revisions",
        )
    # One that serves already keeps what it has, whatever its condition says; the rollout is stopped in any case.
    needs = () if old in standing.shares else (old,)
    before, why = _about(standing, old, new), "rolled back by a user"
    return _move(before, RolloutPhase.ROLLED_BACK, {old: 100}, now, why, what="roll back", needs=needs)


def plan_begin(standing: RolloutStatus, settings: RolloutSettings, now: float, *, again: bool = False) -> Plan:
    """Plan a rollout of the newest revision in steps.

    Args:
        again: Continue a rollout that is held or was rolled back, at its present share.
    """
    new, state = standing.newest, standing.current
    if state is not None and not (again and state.phase is not RolloutPhase.DONE):
        is_advancing = state.phase is RolloutPhase.ADVANCING
        return Plan(state=state if is_advancing else replace(state, settings=settings), what="begin")
    old = standing.other
    if new and dict(standing.shares) == {new: 100}:
        # It has all requests: Knative gave them to a first revision, or another tool did.
        before = RolloutState(old=old, new=new, phase=RolloutPhase.ADVANCING, settings=settings)
        after = before.become(RolloutPhase.DONE, {new: 100}, now, "no other revision gets requests")
        return Plan(state=after, traffic=None if standing.fixed else after.traffic, what="begin")
    before = replace(_about(standing, old, new, settings), served=False, observed=False)
    share = standing.shares.get(new, 0) if old else 0
    after = before.become(RolloutPhase.ADVANCING, before.shared(share), now)
    as_it_is = dict(after.traffic) == dict(standing.traffic)
    return Plan(state=after, traffic=None if as_it_is or not old else after.traffic, what="begin")


def plan_fixed(standing: RolloutStatus) -> Plan | None:
    """Plan to replace "latest revision" in the traffic by the revision's name; None if the traffic has no such share.

    This is needed before a deploy, because otherwise the new revision gets all requests as soon as it is ready.
    """
    if standing.fixed or not standing.shares:
        return None
    state = standing.state or RolloutState(
        old="", new=find_largest_share(standing.shares), phase=RolloutPhase.DONE, served=True
    )
    return Plan(state=replace(state, traffic=dict(standing.shares)), traffic=standing.shares, what="fix")


def plan_decision(
    state: RolloutState, decision: RolloutDecision, seen: Traffic, now: float, unread: tuple[str, ...]
) -> Plan:
    """Plan the action of a rollout that was decided.

    Args:
        state: State that the decision was made for.
        seen: Traffic that the Service has now.
        unread: Names of the new and the old revision's pods whose metrics couldn't be read.
    """
    action, percent, why, resumes = decision
    if action is RolloutAction.WAIT:
        since = min(state.since, now)  # the clock may have been set back
        waiting = replace(state, since=since, counts=state.counts.close_window(now, since))
        return Plan(state=waiting, what=action.value, reason=why)
    if action is RolloutAction.HOLD and (percent >= state.percent or dict(seen) != dict(state.traffic)):
        shares = seen if sum(seen.values()) == 100 else {}
        return Plan(state=state.become(RolloutPhase.HELD, shares, now, why, resumes=resumes), what=action.value)
    phase = _ENDS.get(action, RolloutPhase.ADVANCING)
    if phase is RolloutPhase.ADVANCING:
        state = replace(state, counts=state.counts.begin_step(unread))
    after = state.become(phase, state.shared(percent), now, why, resumes=resumes)
    return Plan(state=after, traffic=after.traffic, what=action.value)


def _move(state: RolloutState, phase: RolloutPhase, traffic: Traffic, now: float, why: str, **how: Any) -> Plan:
    """Plan another phase with its traffic; `how` has further attributes of the plan."""
    after = state.become(phase, traffic, now, why)
    return Plan(state=after, traffic=after.traffic, **how)


def _newest(standing: RolloutStatus) -> str:
    if not standing.newest:
        raise NotFoundError(f"{standing.name} has no revision yet", hint="eaves status --on knative")
    return standing.newest


def _about(standing: RolloutStatus, old: str, new: str, settings: RolloutSettings | None = None) -> RolloutState:
    """Return the stored state if it is about the given two revisions, else a new state that keeps the history."""
    state = standing.state
    if state is None:
        return RolloutState(old=old, new=new, phase=RolloutPhase.HELD, settings=settings or RolloutSettings())
    kept = settings or state.settings
    if (state.old, state.new) == (old, new):
        return replace(state, settings=kept)
    return RolloutState(old=old, new=new, phase=RolloutPhase.HELD, settings=kept)
