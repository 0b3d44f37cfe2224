"""A rollout that goes on by itself while the new revision does well. No operator: each call is one step of it.

`deploy --wait` calls `advance` every few seconds, `eaves reconcile` once; both may do so at the same time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from eaves.errors import ConflictError
from knative.rollout.exchange import (
    ATTEMPTS,
    SETTLE_S,
    Outcome,
    carry_out,
    nothing,
    read_health,
    read_service,
    too_fast,
    write_plan,
)
from knative.rollout.judgement import Decision, Observation, Verb, decide
from knative.rollout.observation import Look, look
from knative.rollout.plan import Plan, plan_begin, plan_decision
from knative.rollout.standing import Standing, parse_standing
from knative.rollout.state import Phase, State
from knative.rollout.tally import accumulate
from knative.settings import RolloutSettings

if TYPE_CHECKING:
    from knative.cluster import Cluster


def begin(
    cluster: Cluster,
    name: str,
    settings: RolloutSettings,
    *,
    again: bool = False,
    adopt: bool = False,
    now: float | None = None,
) -> Outcome:
    """Roll the newest revision out by steps; call it after each deploy. Of one under way already, nothing is changed.

    Args:
        cluster: Where.
        name: Of the function.
        settings: How; kept with the rollout.
        again: Go on with one that is held or was rolled back, at the share it has now. A person's decision.
        adopt: Take the shares over from whoever else set them.
        now: Unix seconds; None: by the API server's clock.

    Raises:
        NotFoundError: No such function.
        ConflictError: Somebody else set the shares.
        ClusterError: When the API server refuses.
    """
    return carry_out(
        cluster,
        name,
        lambda standing, moment: plan_begin(standing, settings, moment, again=again),
        what="begin",
        now=now,
        adopt=adopt,
        settle_s=SETTLE_S,
    )


def advance(
    cluster: Cluster, name: str, *, settings: RolloutSettings | None = None, now: float | None = None
) -> Outcome:
    """Take one look and one decision, and do it.

    Args:
        cluster: Where.
        name: Of the function.
        settings: Of a rollout that has to be begun first; None: those of the last one, and without one none is begun.
        now: Unix seconds; None: by the API server's clock.

    Raises:
        NotFoundError: No such function.
        ConflictError: Somebody changes the Service all the time, or a GitOps controller keeps the rollout's state.
        ClusterError: When the API server refuses. Pods that can't be asked are no error; the reason tells of them.
    """
    for _ in range(ATTEMPTS):
        service = read_service(cluster, name)
        standing = parse_standing(service)
        moment = cluster.clock() if now is None else now
        kept = settings or (standing.state.settings if standing.state is not None else None)
        if not standing.settled:
            return nothing(standing, "Knative has not taken up what was deployed last yet")
        if kept is None:
            return nothing(standing, standing.fault or "no rollout was begun")
        decision = None
        if (state := standing.current) is None:
            plan = plan_begin(standing, kept, moment)
        elif state.phase is not Phase.ADVANCING:
            return nothing(standing, state.reason)
        else:
            decision, plan = _consider(cluster, standing, state, moment)
        try:
            changed = write_plan(cluster, service, plan)
        except ConflictError as error:
            if not error.causes:
                continue
            decision, plan = _leave(standing, plan.state, error, moment)
            changed = write_plan(cluster, service, plan)
        return Outcome(
            name=name,
            what=decision.verb.value if decision else "begin",
            reason=decision.reason if decision else plan.state.reason or f"{standing.newest} is to be rolled out",
            changed=changed,
            state=plan.state,
            shares=standing.shares if plan.traffic is None else plan.traffic,
        )
    raise too_fast(name)


def _consider(cluster: Cluster, standing: Standing, state: State, now: float) -> tuple[Decision, Plan]:
    """Look at both revisions and decide."""
    new = read_health(cluster, state.new)
    old = read_health(cluster, state.old) if state.old else None
    seen = look(cluster, (state.new, state.old)) if new.ready and old is not None else Look(present=None)
    if seen.present is not None:
        state = replace(state, counts=accumulate(state.counts, seen.readings, seen.present))
    observation = Observation(new=new, old=old, traffic=standing.traffic, unread=seen.unread)
    decision = decide(state, observation, now)
    return decision, plan_decision(state, decision, standing.traffic, now, tuple(seen.unread))


def _leave(standing: Standing, state: State, error: ConflictError, now: float) -> tuple[Decision, Plan]:
    """Somebody else owns the shares: leave them, and say so where the rollout is kept."""
    managers = ", ".join(sorted({manager for manager, _ in error.causes}))
    decision = Decision(
        verb=Verb.HOLD, percent=standing.shares.get(state.new, 0), reason=f"the shares were set by {managers}"
    )
    return decision, plan_decision(state, decision, standing.traffic, now, ())
