"""Reading a Service with what belongs to it, and writing shares and state back in one step.

Whoever writes says which version of the Service it has read. So of two who advance the same rollout at the same time,
a `deploy --wait` and a `reconcile`, say, one is refused, reads again, and finds the work done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eaves.errors import ClusterError, ConflictError, NotFoundError, StartError
from knative.client.kinds import KSERVICE, REVISION
from knative.resources.fields.labels import ROLLOUT_ANNOTATION, ROLLOUT_MANAGER
from knative.rollout.analysis.decision import RevisionHealth
from knative.rollout.annotation import render_state
from knative.rollout.plan import Plan
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
"""Of reading and writing, while somebody else changes the same Service."""
SETTLE_S = 10.0
"""Longest wait for Knative to take up what was applied just before; it takes well below a second."""

Manifest = Mapping[str, Any]
Propose = Callable[[RolloutStatus, float], Plan | None]
Check = Callable[[Manifest, Plan], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutOutcome:
    """How a rollout stands after a call.

    Attributes:
        name: Of the function.
        what: What the call did: a verb of `knative.rollout.analysis.decision.RolloutAction`, `begin`, `set`, `pin`, or
            `nothing`.
        reason: Why, for people.
        changed: Whether anything was written.
        state: The rollout's; None: there is none.
        shares: Revision to percent, as they are now.
    """

    name: str
    what: str
    reason: str
    changed: bool
    state: RolloutState | None
    shares: Traffic

    @property
    def advancing(self) -> bool:
        """Whether calling `advance` again later may change something."""
        return self.state is not None and self.state.phase is RolloutPhase.ADVANCING


def read_service(cluster: Cluster, name: str, *, settle_s: float = 0.0) -> dict[str, Any]:
    """A function's Service.

    Args:
        cluster: Where.
        name: Of the function.
        settle_s: Longest wait until Knative has taken up what was applied last.

    Raises:
        NotFoundError: When there is none.
        ClusterError: When the API server refuses.
    """
    service = cluster.get(KSERVICE, name)
    if service is not None and settle_s and not parse_rollout_status(service).settled:
        for event, changed in cluster.watch(KSERVICE, fields=f"metadata.name={name}", timeout_s=settle_s):
            service = None if event == "DELETED" else changed
            if service is None or parse_rollout_status(service).settled:
                break
    if service is None:
        raise NotFoundError(f"no function {name!r} in {cluster.namespace} of {cluster.name}", hint="eaves status")
    return service


def read_health(cluster: Cluster, revision: str) -> RevisionHealth:
    """How a revision is."""
    return parse_health(revision, cluster.get(REVISION, revision))


def require_revisions(cluster: Cluster, name: str, plan: Plan) -> None:
    """Refuse a plan whose revisions can't take requests: with one of them Knative would change no share at all.

    Raises:
        NotFoundError: When one is gone.
        StartError: When one has failed, or isn't ready and must be.
    """
    for revision in (*plan.needs, *plan.bears):
        health = read_health(cluster, revision)
        if not health.exists:
            raise NotFoundError(f"the revision {revision} is gone: Knative deletes old ones", hint="deploy it again")
        if health.ready is False or (health.ready is None and revision in plan.needs):
            state = "failed" if health.ready is False else "isn't ready yet"
            raise StartError(f"{revision} {state}: {health.message or 'no reason given'}", hint=f"eaves logs {name}")


def require_settled(standing: RolloutStatus) -> RolloutStatus:
    """Refuse to guess which revision is the newest.

    Raises:
        ClusterError: When Knative has not taken up what was applied last.
    """
    if not standing.settled:
        raise ClusterError(
            f"Knative has not taken up what was deployed last to {standing.name}, so nobody knows its newest revision",
            hint="kubectl -n knative-serving get pods   # does its controller run?",
        )
    return standing


def write_plan(cluster: Cluster, service: Manifest, plan: Plan, *, force: bool = False) -> bool:
    """Make it so; says whether anything had to be written.

    Raises:
        ConflictError: With causes: somebody else owns the shares. Without: the Service changed since it was read.
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
            "uid": metadata["uid"],  # what was removed meanwhile isn't made again
            "annotations": {ROLLOUT_ANNOTATION: annotation},
        },
    }
    # What a manager owns and doesn't name any more is removed; what it doesn't own it leaves to those who do.
    if plan.traffic is not None or owns_traffic(service):
        manifest["spec"] = {"traffic": wanted}
    try:
        cluster.apply(manifest, manager=ROLLOUT_MANAGER, force=force)
    except ConflictError as error:
        ours = error.causes and all(ROLLOUT_ANNOTATION in field for _, field in error.causes)
        if not ours or not parse_annotation(service)[1]:
            raise
        cluster.apply(manifest, manager=ROLLOUT_MANAGER, force=True)  # it is ours, and whoever wrote it broke it
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
    """Read, plan and write, again from the start when somebody else was faster.

    Args:
        cluster: Where.
        name: Of the function.
        propose: What to do about how things stand; None: nothing.
        what: Says the outcome.
        now: Unix seconds; None: by the API server's clock, the one that all who advance a rollout share.
        adopt: Take the shares over from whoever else owns them.
        settle_s: As in `read_service`.
        check: Called with the Service and the plan before that is written; it raises to refuse it.
        service: The Service where it was read just now, for the first attempt; None: it is read.

    Raises:
        ConflictError: When somebody else owns the shares, or changes the Service faster than it can be read.
        EavesError: As `propose`, `read_service` and `require_revisions` do.
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
        try:
            changed = write_plan(cluster, service, plan, force=adopt)
        except ConflictError as error:
            if error.causes:
                raise build_owner_error(name, error) from error
            service = None
            continue
        return outcome_of(standing, plan, what if changed else "nothing", plan.state.reason, changed=changed)
    raise build_conflict_error(name)


def outcome_of(standing: RolloutStatus, plan: Plan, what: str, reason: str, *, changed: bool) -> RolloutOutcome:
    """The outcome of a plan that was carried out."""
    return RolloutOutcome(
        name=standing.name,
        what=what,
        reason=reason or plan.state.phase.value,
        changed=changed,
        state=plan.state,
        shares=standing.shares if plan.traffic is None else plan.traffic,
    )


def unchanged_outcome(standing: RolloutStatus, reason: str) -> RolloutOutcome:
    """The outcome of leaving everything as it is."""
    shares, state = standing.shares, standing.state
    return RolloutOutcome(name=standing.name, what="nothing", reason=reason, changed=False, state=state, shares=shares)


def build_conflict_error(name: str) -> ConflictError:
    """Somebody changes the Service all the time."""
    return ConflictError(f"{name} changes faster than it can be read", hint="try again in a moment")


def build_owner_error(name: str, error: ConflictError) -> ConflictError:
    """Somebody else owns the shares, and they would have to be taken over."""
    managers = ", ".join(sorted({manager for manager, _ in error.causes}))
    return ConflictError(
        f"the shares of {name} were set by {managers}",
        hint="say --adopt to take them over; where a GitOps controller sets them, change its file instead",
        causes=error.causes,
    )
