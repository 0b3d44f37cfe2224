"""Store of a Service: reads it with its revisions, and writes traffic and the rollout's state in one request.

A write names the version of the Service that was read. So when two processes advance the same rollout at the same time,
such as a `deploy --wait` and a `reconcile`, the API server refuses one of them. That process reads again, and finds
that the step has been made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from eaves.errors import ClusterError, ConflictError, NotFoundError, StartError
from knative.client.kinds import KSERVICE, REVISION
from knative.resources.metadata import ROLLOUT_ANNOTATION, ROLLOUT_MANAGER
from knative.rollout.analysis.decision import RevisionHealth
from knative.rollout.annotation import render_state
from knative.rollout.plan import Plan, note_refusals
from knative.rollout.rollout_state import RolloutPhase, RolloutState
from knative.rollout.rollout_status import (
    RolloutStatus,
    owns_traffic,
    parse_annotation,
    parse_health,
    parse_rollout_status,
)
from knative.rollout.traffic import Traffic, build_traffic

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

ATTEMPTS = 5
"""Number of attempts to read and write a Service while other processes change it."""
SETTLE_S = 10.0
"""Maximum seconds to wait until Knative has processed the last change of a Service; Knative takes less than a
second."""

Manifest = Mapping[str, Any]
Propose = Callable[[RolloutStatus, float], Plan | None]
Check = Callable[[Manifest, Plan], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutOutcome:
    """The result of one call for a rollout: the action, its reason, and the state of the rollout afterwards.

    Attributes:
        name: Name of the function.
        what: Action of the call: a value of `knative.rollout.analysis.decision.RolloutAction`, `begin`, `set`, `pin`,
            or `nothing`.
        reason: Reason for people.
        changed: Whether the Service was written.
        state: State of the rollout; None when there is none.
        shares: Percent of requests by revision, after the call.
    """

    name: str
    what: str
    reason: str
    changed: bool
    state: RolloutState | None
    shares: Traffic

    @property
    def advancing(self) -> bool:
        """Whether a later call of `advance` may change the rollout."""
        return self.state is not None and self.state.phase is RolloutPhase.ADVANCING


def read_service(cluster: Cluster, name: str, *, settle_s: float = 0.0) -> dict[str, Any]:
    """Read a function's Service.

    Args:
        cluster: Connection to the cluster, in the function's namespace.
        name: Name of the function.
        settle_s: Maximum seconds to wait until Knative has processed the last change.

    Raises:
        NotFoundError: When there is no such function.
        ClusterError: When the API server refuses.
    """
    service = cluster.get(KSERVICE, name)
    if service is not None and settle_s and not parse_rollout_status(service).settled:
        for event, changed in cluster.watch(KSERVICE, fields=f"metadata.name={name}", timeout_s=settle_s):
            service = None if event == "DELETED" else changed
            if service is None or parse_rollout_status(service).settled:
                break
    if service is None:
        raise NotFoundError(
            f"the function {name!r} does not exist in {cluster.namespace} of {cluster.name}", hint="eaves status"
        )
    return service


def read_health(cluster: Cluster, revision: str) -> RevisionHealth:
    """Read the health of a revision."""
    return parse_health(revision, cluster.get(REVISION, revision))


def require_revisions(cluster: Cluster, name: str, plan: Plan) -> None:
    """Raise an error if a plan names a revision that can't take requests; Knative would then change no share at all.

    Raises:
        NotFoundError: When a revision no longer exists.
        StartError: When a revision has failed, or isn't ready and must be.
    """
    for revision in (*plan.needs, *plan.bears):
        health = read_health(cluster, revision)
        if not health.exists:
            raise NotFoundError(
                f"the revision {revision} no longer exists; Knative deletes old revisions",
                hint="deploy its container image again",
            )
        if health.ready is False or (health.ready is None and revision in plan.needs):
            state = "failed" if health.ready is False else "isn't ready yet"
            raise StartError(f"{revision} {state}: {health.message or 'no reason given'}", hint=f"eaves logs {name}")


def require_settled(standing: RolloutStatus) -> RolloutStatus:
    """Raise an error when Knative hasn't processed the last change, so that the newest revision isn't known yet.

    Raises:
        ClusterError: When Knative has not reconciled the last change.
    """
    if not standing.settled:
        raise ClusterError(
            f"Knative has not processed the last deployment of {standing.name}, so its newest revision is not known",
            hint="kubectl -n knative-serving get pods   # the controller must run",
        )
    return standing


def write_plan(cluster: Cluster, service: Manifest, plan: Plan, *, force: bool = False) -> bool:
    """Write a plan to a Service; return whether a write was necessary.

    Raises:
        ConflictError: When another manager owns the traffic (the error then has `causes`), or the Service has changed
            since it was read (it then has none).
        ClusterError: When the API server refuses.
    """
    annotation = render_state(plan.state)
    metadata, spec = service["metadata"], service.get("spec", {})
    wanted = spec.get("traffic") if plan.traffic is None else build_traffic(plan.traffic, preview=plan.preview)
    if wanted == spec.get("traffic") and annotation == (metadata.get("annotations") or {}).get(ROLLOUT_ANNOTATION):
        return False
    manifest: dict[str, Any] = {
        "apiVersion": KSERVICE.api_version,
        "kind": KSERVICE.kind,
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata.get("namespace") or cluster.namespace,
            "resourceVersion": metadata["resourceVersion"],
            "uid": metadata["uid"],  # a Service that was removed since isn't made again
            "annotations": {ROLLOUT_ANNOTATION: annotation},
        },
    }
    # Server-side apply removes fields that a manager owns and leaves out; other managers' fields stay.
    if plan.traffic is not None or owns_traffic(service):
        manifest["spec"] = {"traffic": wanted}
    try:
        cluster.apply(manifest, manager=ROLLOUT_MANAGER, force=force)
    except ConflictError as error:
        ours = error.causes and all(ROLLOUT_ANNOTATION in field for _, field in error.causes)
        if not ours or not parse_annotation(service)[1]:
            raise
        cluster.apply(manifest, manager=ROLLOUT_MANAGER, force=True)  # the annotation is Eaves', and it is unreadable
    return True


def write_change(
    cluster: Cluster,
    name: str,
    propose: Propose,
    *,
    what: str,
    now: float | None = None,
    adopt: bool = False,
    settle_s: float = 0.0,
    check: Check = lambda service, plan: None,
    service: Manifest | None = None,
) -> RolloutOutcome:
    """Read a Service, plan a change and write it; start again when another process wrote in between.

    Args:
        cluster: Connection to the cluster, in the function's namespace.
        name: Name of the function.
        propose: Function that returns the plan for a status; None changes nothing.
        what: Name of the action in the outcome.
        now: Unix time in seconds; None uses the API server's clock, which all processes that advance a rollout share.
        adopt: Take the traffic over from another manager.
        settle_s: Maximum seconds to wait until Knative has reconciled the last change.
        check: Function that gets the Service and the plan before the write, and raises an error to refuse it.
        service: The Service if it was read just now, for the first attempt; None reads it.

    Raises:
        ConflictError: When another manager owns the traffic, or the Service changes faster than it can be read.
        EavesError: When `propose`, `read_service` or `require_revisions` raises it.
    """
    for _ in range(ATTEMPTS):
        if service is None or not parse_rollout_status(service).settled:
            service = read_service(cluster, name, settle_s=settle_s)
        standing = parse_rollout_status(service)
        plan = propose(standing, cluster.clock() if now is None else now)
        if plan is None:
            return unchanged_outcome(standing, standing.fault or (standing.state.reason if standing.state else ""))
        require_revisions(cluster, name, plan)
        check(service, plan)
        plan = note_refusals(plan, standing)
        try:
            changed = write_plan(cluster, service, plan, force=adopt)
        except ConflictError as error:
            if error.causes:
                raise build_owner_error(name, error) from error
            service = None
            continue
        return outcome_of(standing, plan, what if changed else "nothing", plan.state.reason, changed=changed)
    raise build_conflict_error(name)


def forget_retries(cluster: Cluster, name: str, revisions: Collection[str]) -> None:
    """Remove revisions from those whose refused images are still to be retried.

    Raises:
        ConflictError: When the Service was changed at the same time, so that a later command must do this.
        ClusterError: When the API server refuses.
    """
    service = read_service(cluster, name)
    state = parse_rollout_status(service).state
    if state is not None:
        left = tuple(one for one in state.to_retry if one not in revisions)
        write_plan(cluster, service, Plan(state=replace(state, to_retry=left)))


def outcome_of(standing: RolloutStatus, plan: Plan, what: str, reason: str, *, changed: bool) -> RolloutOutcome:
    """Build the outcome of a plan that was written."""
    return RolloutOutcome(
        name=standing.name,
        what=what,
        reason=reason or plan.state.phase.value,
        changed=changed,
        state=plan.state,
        shares=standing.shares if plan.traffic is None else plan.traffic,
    )


def unchanged_outcome(standing: RolloutStatus, reason: str) -> RolloutOutcome:
    """Build the outcome of a call that left the Service unchanged."""
    shares, state = standing.shares, standing.state
    return RolloutOutcome(name=standing.name, what="nothing", reason=reason, changed=False, state=state, shares=shares)


def build_conflict_error(name: str) -> ConflictError:
    """Build the error for a Service that changes faster than it can be read and written."""
    return ConflictError(f"the Service {name} changes too often to be updated", hint="try again in a moment")


def build_owner_error(name: str, error: ConflictError) -> ConflictError:
    """Build the error for traffic that another manager owns, and that `adopt` would take over."""
    managers = ", ".join(sorted({manager for manager, _ in error.causes}))
    return ConflictError(
        f"the shares of {name} were set by {managers}",
        hint="take the shares over with --adopt; if a GitOps controller sets them, change its file instead",
        causes=error.causes,
    )
