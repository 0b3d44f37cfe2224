"""An automatic rollout, which raises the new revision's share while that revision works well.

No operator runs in the cluster: each call makes one step. `deploy --wait` calls `advance_rollout` every few seconds,
and `eaves reconcile` calls it once; both may do so at the same time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from eaves.errors import ConflictError
from knative.rollout.analysis.decision import RolloutAction, RolloutDecision, RolloutObservation, decide_rollout
from knative.rollout.metrics.counters import accumulate
from knative.rollout.metrics.metrics_scrape import MetricsScrape, scrape_metrics
from knative.rollout.pinning import PinStatus, hold_unpinned, read_pin
from knative.rollout.plan import BEGUN, Plan, note_refusals, plan_begin, plan_decision
from knative.rollout.rollout_state import RolloutPhase, RolloutState
from knative.rollout.rollout_status import RolloutStatus, parse_rollout_status
from knative.rollout.service_store import (
    ATTEMPTS,
    SETTLE_S,
    RolloutOutcome,
    build_conflict_error,
    build_owner_error,
    outcome_of,
    read_health,
    read_service,
    unchanged_outcome,
    write_change,
    write_plan,
)
from knative.settings import RolloutSettings

if TYPE_CHECKING:
    from knative.client.cluster import Cluster


def begin_rollout(
    cluster: Cluster,
    name: str,
    settings: RolloutSettings,
    *,
    again: bool = False,
    adopt: bool = False,
    now: float | None = None,
    service: Mapping[str, Any] | None = None,
) -> RolloutOutcome:
    """Start a rollout of the newest revision in steps; call it after each deploy.

    A rollout in progress stays unchanged.

    Args:
        cluster: Connection to the cluster, in the function's namespace.
        name: Name of the function.
        settings: Settings of the rollout, which are stored with it.
        again: Continue a rollout that is held or was rolled back, at its present share. A user must decide this.
        adopt: Take the traffic over from another manager.
        now: Unix time in seconds; None uses the API server's clock.
        service: The Service if it was read just now; None reads it.

    Raises:
        NotFoundError: When there is no such function.
        ConflictError: When another manager set the traffic.
        ClusterError: When the API server refuses.
    """
    pin: PinStatus | None = None

    def look_at_pin(service: Mapping[str, Any], plan: Plan) -> None:
        nonlocal pin
        pin = None if plan.state.old else read_pin(cluster, service)

    outcome = write_change(
        cluster,
        name,
        lambda standing, moment: plan_begin(standing, settings, moment, again=again),
        what="begin",
        now=now,
        adopt=adopt,
        settle_s=SETTLE_S,
        check=look_at_pin,
        service=service,
    )
    if pin is None or pin.complete:
        return outcome
    return replace(outcome, reason=f"{outcome.reason}; its container image is {pin.render()} so far")


def advance_rollout(
    cluster: Cluster, name: str, *, settings: RolloutSettings | None = None, now: float | None = None
) -> RolloutOutcome:
    """Observe both revisions, decide the next action of the rollout, and carry it out.

    Args:
        cluster: Connection to the cluster, in the function's namespace.
        name: Name of the function.
        settings: Settings for a rollout that must be begun first; None uses those of the last rollout, and begins none
            when there was none.
        now: Unix time in seconds; None uses the API server's clock.

    Raises:
        NotFoundError: When there is no such function.
        ConflictError: When the Service changes all the time, or a GitOps controller owns the rollout's state.
        ClusterError: When the API server refuses. Pods that can't be read are no error; the reason names them.
    """
    refused: ConflictError | None = None
    for _ in range(ATTEMPTS):
        service = read_service(cluster, name)
        standing = parse_rollout_status(service)
        moment = cluster.clock() if now is None else now
        move = _propose(cluster, service, settings, moment)
        if isinstance(move, str):
            return unchanged_outcome(standing, move)
        if refused is not None:
            move = _leave(standing, standing.current or move.plan.state, refused, moment)
        plan = note_refusals(move.plan, standing)
        try:
            changed = write_plan(cluster, service, plan)
        except ConflictError as error:
            if error.causes and refused is not None:
                raise build_owner_error(name, error) from error
            refused = error if error.causes else refused
            continue
        return outcome_of(standing, plan, move.what, move.reason, changed=changed)
    raise build_conflict_error(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Move:
    """The next change of a rollout, with its plan and the texts for the outcome."""

    what: str
    reason: str
    plan: Plan


def _propose(cluster: Cluster, service: Mapping[str, Any], settings: RolloutSettings | None, now: float) -> _Move | str:
    """Return the next change of a rollout, or the reason why there is none."""
    standing = parse_rollout_status(service)
    if not standing.settled:
        return "Knative has not processed the last deployment yet"
    if not standing.newest:
        return "the function has no revision yet"
    if (state := standing.current) is None:
        kept = settings or (standing.state.settings if standing.state is not None else None)
        if kept is None:
            return standing.fault or "no rollout was started"
        plan = plan_begin(standing, kept, now)
        return _Move(what="begin", reason=plan.state.reason or f"the rollout of {standing.newest} starts", plan=plan)
    if state.phase is not RolloutPhase.ADVANCING:
        return state.reason or state.phase.value
    return _consider(cluster, service, state, now)


def _consider(cluster: Cluster, service: Mapping[str, Any], state: RolloutState, now: float) -> _Move:
    """Observe both revisions of a rollout, and return the next change that follows."""
    standing = parse_rollout_status(service)
    new = read_health(cluster, state.new)
    old = read_health(cluster, state.old) if state.old else None
    seen = (
        scrape_metrics(cluster, (state.new, state.old))
        if new.ready and old is not None
        else MetricsScrape(present=None)
    )
    if seen.present is not None:
        fresh = state.percent and not state.counts.totals and state.history and state.history[-1].what == BEGUN
        counts = accumulate(state.counts, seen.readings, seen.present)
        # Requests that pods counted before the first observation don't belong to this step.
        state = replace(state, counts=counts.begin_step(seen.unread) if fresh else counts)
    observation = RolloutObservation(new=new, old=old, traffic=standing.traffic, unread=seen.unread)
    decision = hold_unpinned(cluster, service, state, decide_rollout(state, observation, now), now)
    return _decided(standing, state, decision, now, tuple(seen.unread))


def _leave(standing: RolloutStatus, state: RolloutState, refused: ConflictError, now: float) -> _Move:
    """Return the change that holds a rollout, since another manager owns the traffic.

    The reason is recorded in the rollout's state.
    """
    managers = ", ".join(sorted({manager for manager, _ in refused.causes}))
    share = standing.shares.get(state.new, 0)
    hold = RolloutDecision(verb=RolloutAction.HOLD, percent=share, reason=f"the shares were set by {managers}")
    return _decided(standing, state, hold, now, ())


def _decided(
    standing: RolloutStatus, state: RolloutState, decision: RolloutDecision, now: float, unread: tuple[str, ...]
) -> _Move:
    plan = plan_decision(state, decision, standing.traffic, now, unread)
    return _Move(what=decision.verb.value, reason=decision.reason, plan=plan)
