"""What a person's word, a deploy or a decision makes of a rollout: the next state and shares. Pure.

Nothing here asks whether a revision is ready; `knative.rollout.commands` does that before it applies a plan, and with
GitOps the cluster does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from eaves.errors import InputError, NotFoundError
from knative.rollout.analysis.decision import RolloutAction, RolloutDecision
from knative.rollout.rollout_state import RolloutPhase, RolloutState
from knative.rollout.rollout_status import RolloutStatus
from knative.rollout.traffic import Traffic, find_largest_share, split_traffic
from knative.settings import RolloutSettings

BEGUN = "begun"
"""What the history says of a rollout's beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be.

    Attributes:
        state: The rollout's.
        traffic: The shares; None: as they are.
        preview: A revision at 0 % that gets an address of its own.
        needs: Revisions that must be ready for it.
        bears: Revisions that must be there for it and not have failed.
    """

    state: RolloutState
    traffic: Traffic | None = None
    preview: str = ""
    needs: tuple[str, ...] = ()
    bears: tuple[str, ...] = ()


def plan_percent(standing: RolloutStatus, percent: int, now: float) -> Plan:
    """A person gives the newest revision a share. The automatic leaves it alone from then on.

    Raises:
        InputError: When it is no share.
        NotFoundError: When there is nothing else to give the rest to.
    """
    if not 0 <= percent <= 100:
        raise InputError(f"a share is from 0 to 100 percent (got {percent})", hint="eaves rollout --percent 10")
    new = _newest(standing)
    old = find_largest_share(standing.shares, apart_from=new) or standing.other
    state = _about(standing, old, new)
    if percent == 100:
        after = state.become(RolloutPhase.DONE, {new: 100}, now, what="done", why="promoted by hand")
        return Plan(state=after, traffic=after.traffic, needs=(new,))
    if not old:
        raise NotFoundError(
            f"{new} is the only revision of {standing.name} that Eaves knows of: it has all requests",
            hint="deploy another, then give it a share",
        )
    after = state.become(
        RolloutPhase.HELD, split_traffic(new, percent, old), now, what=f"{percent} %", why=f"set to {percent} % by hand"
    )
    after = replace(after, counts=after.counts.begin_step())
    preview = new if percent == 0 else ""
    needs = (new,) if old in standing.shares else (new, old)
    return Plan(state=after, traffic=after.traffic, preview=preview, needs=needs)


def plan_promote(standing: RolloutStatus, now: float) -> Plan | None:
    """A person gives the newest revision everything; None: it has that already.

    Raises:
        NotFoundError: When there is no revision.
    """
    new = _newest(standing)
    if (
        dict(standing.traffic) == {new: 100}
        and standing.current is not None
        and standing.current.phase is RolloutPhase.DONE
    ):
        return None
    return plan_percent(standing, 100, now)


def plan_rollback(standing: RolloutStatus, now: float, *, undo: bool = True) -> Plan | None:
    """Everything to the revision that served before; None: it has that already.

    Args:
        standing: How things stand.
        now: Unix seconds.
        undo: After a rollback, go back to what was rolled back from, if that had served everything once; else such a
            second rollback does nothing, so that a command for many sites can be given again for those that were down.

    Raises:
        NotFoundError: When there is nothing before it.
    """
    new = _newest(standing)
    state = standing.current
    if state is not None and state.phase is RolloutPhase.ROLLED_BACK and dict(standing.traffic) == dict(state.traffic):
        if not undo:
            return None
        if not state.served:
            raise NotFoundError(
                f"{state.old} serves again already, since {state.new} was rolled back: {state.reason}; there is "
                "nothing before it",
                hint=f"eaves promote {standing.name}   # to serve {state.new} all the same",
            )
        after = state.become(RolloutPhase.DONE, {new: 100}, now, what="done", why="the rollback was taken back by hand")
        return Plan(state=after, traffic=after.traffic, needs=(new,))
    old = (state.old if state is not None else "") or standing.other
    if not old:
        why = f" ({standing.fault})" if standing.fault else ""
        raise NotFoundError(
            f"{standing.name} has no revision before {new} that Eaves knows of{why}",
            hint=f"kn service update {standing.name} --traffic REVISION=100   # `kn revision list` names them",
        )
    after = _about(standing, old, new).become(
        RolloutPhase.ROLLED_BACK, {old: 100}, now, what="rolled back", why="rolled back by hand"
    )
    # One that serves already keeps what it has, whatever its condition says; the rollout is stopped in any case.
    return Plan(state=after, traffic=after.traffic, bears=() if old in standing.shares else (old,))


def plan_begin(standing: RolloutStatus, settings: RolloutSettings, now: float, *, again: bool = False) -> Plan:
    """Roll the newest revision out by steps.

    Args:
        standing: How things stand.
        settings: How.
        now: Unix seconds.
        again: Go on with one that is held or was rolled back, at the share it has.
    """
    new, state = standing.newest, standing.current
    if (
        state is not None
        and state.phase is not RolloutPhase.ADVANCING
        and not (again and state.phase is not RolloutPhase.DONE)
    ):
        return Plan(state=replace(state, settings=settings))
    if state is not None and not again:
        return Plan(state=state)
    old = standing.other
    if new and dict(standing.shares) == {new: 100}:
        # It has everything: a first one that Knative let serve, or one that was given everything by other means.
        before = RolloutState(old=old, new=new, phase=RolloutPhase.ADVANCING, settings=settings)
        after = before.become(RolloutPhase.DONE, {new: 100}, now, what="done", why="nothing else serves")
        return Plan(state=after, traffic=None if standing.pinned else after.traffic)
    before = replace(_about(standing, old, new, settings), served=False)
    share = standing.shares.get(new, 0) if old else 0
    after = before.become(RolloutPhase.ADVANCING, before.shared(share), now, what=BEGUN)
    as_it_is = dict(after.traffic) == dict(standing.traffic) and not standing.preview
    return Plan(state=after, traffic=None if as_it_is or not old else after.traffic)


def plan_pin(standing: RolloutStatus) -> Plan | None:
    """Shares that follow the newest revision stay where they are; None: none does, or nothing serves yet.

    Before a deploy: else the new revision gets everything the moment it is ready.
    """
    if standing.pinned or not standing.shares:
        return None
    state = standing.state or RolloutState(
        old="", new=find_largest_share(standing.shares), phase=RolloutPhase.DONE, served=True
    )
    return Plan(state=replace(state, traffic=dict(standing.shares)), traffic=standing.shares)


def plan_decision(
    state: RolloutState, decision: RolloutDecision, seen: Traffic, now: float, unread: tuple[str, ...]
) -> Plan:
    """Do what was decided.

    Args:
        state: It was about.
        decision: What.
        seen: The shares as they are.
        now: Unix seconds.
        unread: Pods that couldn't be asked.
    """
    why, percent = decision.reason, decision.percent
    if decision.verb is RolloutAction.WAIT:
        since = min(state.since, now)  # a clock that went back
        return Plan(state=replace(state, since=since, counts=state.counts.close_window(now, since)))
    if decision.verb is RolloutAction.HOLD:
        shares = seen if sum(seen.values()) == 100 else {}
        return Plan(state=state.become(RolloutPhase.HELD, shares, now, what="held", why=why))
    if decision.verb is RolloutAction.ROLL_BACK:
        after = state.become(RolloutPhase.ROLLED_BACK, state.shared(0), now, what="rolled back", why=why)
        return Plan(state=after, traffic=after.traffic)
    if decision.verb is RolloutAction.FINISH:
        after = state.become(RolloutPhase.DONE, state.shared(100), now, what="done", why=why)
        return Plan(state=after, traffic=after.traffic)
    after = state.become(RolloutPhase.ADVANCING, state.shared(percent), now, what=f"{percent} %", why=why)
    return Plan(state=replace(after, counts=after.counts.begin_step(unread)), traffic=after.traffic)


def _newest(standing: RolloutStatus) -> str:
    if not standing.newest:
        raise NotFoundError(f"{standing.name} has no revision yet", hint="eaves status")
    return standing.newest


def _about(standing: RolloutStatus, old: str, new: str, settings: RolloutSettings | None = None) -> RolloutState:
    """The state on record if it is about these two, else a fresh one that keeps the history."""
    state = standing.state
    if state is None:
        return RolloutState(old=old, new=new, phase=RolloutPhase.HELD, settings=settings or RolloutSettings())
    kept = settings or state.settings
    if (state.old, state.new) == (old, new):
        return replace(state, settings=kept)
    return RolloutState(old=old, new=new, phase=RolloutPhase.HELD, settings=kept, history=state.history)
