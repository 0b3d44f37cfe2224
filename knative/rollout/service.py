"""Rollouts of a function: the commands of a user for its traffic, and the automatic steps of a new revision.

No operator runs in the cluster: each call reads the Service, plans a change and writes it. `deploy --wait` calls
`advance_rollout` every few seconds, and `eaves reconcile` calls it once; both may do so at the same time.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from eaves.errors import ClusterError, ConflictError, NotFoundError, StartError
from eaves.rollout.plan import (
    Plan,
    RevisionHealth,
    RolloutAction,
    RolloutObservation,
    decide_rollout,
    plan_begin,
    plan_decision,
    plan_fixed,
    plan_percent,
    plan_rollback,
    take_readings,
)
from eaves.rollout.settings import RolloutSettings
from eaves.rollout.state import (
    AuditCounts,
    RolloutPhase,
    RolloutState,
    RolloutStatus,
    Traffic,
    render_state,
)
from knative.client.cluster import Cluster
from knative.client.kinds import KSERVICE, REVISION, Manifest, Object, spec_of
from knative.resources.metadata import ROLLOUT_ANNOTATION, ROLLOUT_MANAGER, is_ours
from knative.rollout.observation import (
    MetricsScrape,
    describe_unpinned,
    hold_unpinned,
    read_senders,
    require_pinned,
    scrape_metrics,
)
from knative.status.conditions import absent_function, condition
from knative.status.traffic import build_traffic, owns_traffic, parse_rollout_status

ATTEMPTS = 5
"""Number of attempts to read and write a Service while other processes change it."""
SETTLE_S = 10.0
"""Maximum seconds to wait until Knative has processed the last change of a Service; Knative takes less than a
second."""
PIN_WAIT_S = 60.0
"""Maximum seconds that a command waits for a pin; on nodes that have the container image, its pod starts in one or two
seconds."""

Propose = Callable[[Object, RolloutStatus, float], Plan | str | None]
"""Function that plans a change, given the Service, its status and the time. A text is the reason why nothing changes;
None leaves it to the rollout's state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutOutcome:
    """The result of one call for a rollout: the action, its reason, and the state of the rollout afterwards.

    Attributes:
        name: Name of the function.
        what: Action of the call: `Plan.what`, or `nothing`.
        reason: Reason for people.
        changed: Whether the Service was written.
        state: State of the rollout; None when there is none.
        shares: Percent of requests by revision, after the call.
        stopped: Revisions that had a share before the call and have none after it, unless the newest one was promoted.
    """

    name: str
    what: str
    reason: str
    changed: bool
    state: RolloutState | None
    shares: Traffic
    stopped: tuple[str, ...] = ()

    @property
    def advancing(self) -> bool:
        """Whether a later call of `advance` may change the rollout."""
        return self.state is not None and self.state.phase is RolloutPhase.ADVANCING


def begin_rollout(
    cluster: Cluster,
    name: str,
    settings: RolloutSettings,
    *,
    again: bool = False,
    adopt: bool = False,
    now: float | None = None,
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

    Raises:
        NotFoundError: When there is no such function.
        ConflictError: When another manager set the traffic.
        ClusterError: When the API server refuses.
    """

    def propose(_: Object, standing: RolloutStatus, moment: float) -> Plan:
        plan = plan_begin(standing, settings, moment, again=again)
        if adopt and plan.traffic is None and sum(standing.shares.values()) == 100:
            plan = replace(plan, traffic=standing.shares)
        return plan

    return _change(cluster, name, propose, now=now, adopt=adopt, settle_s=SETTLE_S)


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
        ConflictError: When another manager set the traffic, or the Service changes all the time.
        ClusterError: When the API server refuses. Pods that can't be read are no error; the reason names them.
    """

    def propose(service: Object, standing: RolloutStatus, moment: float) -> Plan | str:
        if not standing.settled:
            return "Knative has not processed the last deployment yet"
        if not standing.newest:
            return "the function has no revision yet"
        if (state := standing.current) is None:
            kept = settings or (standing.state.settings if standing.state is not None else None)
            if kept is None:
                return standing.fault or "no rollout was started"
            plan = plan_begin(standing, kept, moment)
            return replace(plan, reason=plan.state.reason or f"the rollout of {standing.newest} starts")
        if state.phase is not RolloutPhase.ADVANCING:
            if not _may_resume(cluster, service, standing, state):
                return state.reason or state.phase.value
            plan = plan_begin(standing, state.settings, moment, again=True)
            return replace(plan, reason=f"{state.new} is ready and pinned now, so its rollout continues")
        return _observe(cluster, service, standing, state, moment)

    return _change(cluster, name, propose, now=now)


def _may_resume(cluster: Cluster, service: Object, standing: RolloutStatus, state: RolloutState) -> bool:
    """Return whether the reason of a hold that ends by itself is gone, and nobody has changed the shares meanwhile."""
    if not state.resumes or dict(standing.traffic) != dict(state.traffic):
        return False
    return read_health(cluster, state.new).ready is True and not describe_unpinned(cluster, service)


def _observe(cluster: Cluster, service: Object, standing: RolloutStatus, state: RolloutState, now: float) -> Plan:
    """Observe both revisions of a rollout, and plan the next change that follows."""
    new, old = read_health(cluster, state.new), read_health(cluster, state.old) if state.old else None
    seen = MetricsScrape(present=None)
    if new.ready and old is not None:
        seen = scrape_metrics(cluster, (state.new, state.old))
        senders = read_senders(cluster, standing.name, (state.new, state.old))
        seen = replace(seen, readings=seen.readings + senders.readings, unread={**seen.unread, **senders.unread})
    if seen.present is not None:
        state = take_readings(state, seen.readings, seen.present, tuple(seen.unread), now)
    observation = RolloutObservation(new=new, old=old, traffic=standing.traffic, unread=seen.unread)
    decision = hold_unpinned(cluster, service, state, decide_rollout(state, observation, now), now)
    return plan_decision(state, decision, standing.traffic, now, tuple(seen.unread))


def set_percent(
    cluster: Cluster,
    name: str,
    percent: int,
    *,
    unpinned: bool = False,
    pin_wait_s: float = PIN_WAIT_S,
) -> RolloutOutcome:
    """Set the newest revision's share of requests; the revision with the largest share gets the rest.

    The automatic rollout stops until a newer revision comes, or until `begin_rollout(again=True)`.

    Args:
        cluster: Connection to the cluster, in the function's namespace.
        name: Name of the function.
        percent: Share in percent, 0 to 100.
        unpinned: Raise the share although the revision's container image isn't on every node yet.
        pin_wait_s: Maximum seconds to wait until the container image is on every node.

    Raises:
        NotFoundError: When there is no such function, or no other revision to get the rest.
        StartError: When the newest revision isn't ready or isn't pinned. An older ready revision isn't used instead,
            since the command is about the last deploy.
        ConflictError: When another manager set the traffic.
        ClusterError: When the API server refuses, or Knative doesn't reconcile the last change.
    """

    def propose(_: Object, standing: RolloutStatus, moment: float) -> Plan | None:
        if not standing.settled:
            raise ClusterError(
                f"Knative has not processed the last deployment of {name}, so its newest revision is not known",
                hint="kubectl -n knative-serving get pods   # the controller must run",
            )
        return plan_percent(standing, percent, moment)

    return _change(cluster, name, propose, settle_s=SETTLE_S, pin_wait_s=None if unpinned else pin_wait_s)


def promote(cluster: Cluster, name: str, *, unpinned: bool = False, pin_wait_s: float = PIN_WAIT_S) -> RolloutOutcome:
    """Give the newest revision all requests, as `set_percent` does."""
    return set_percent(cluster, name, 100, unpinned=unpinned, pin_wait_s=pin_wait_s)


def store_audit(cluster: Cluster, name: str, judged: RolloutState, counts: AuditCounts) -> RolloutOutcome:
    """Store how both revisions of a rollout answer labelled audit images; the next `advance_rollout` judges by it.

    Args:
        cluster: Connection to the cluster, in the function's namespace.
        name: Name of the function.
        judged: State of the rollout whose revisions were compared; one of others stays unchanged.
        counts: The comparison.

    Raises:
        NotFoundError: When there is no such function.
        ClusterError: When the API server refuses.
    """

    def propose(_: Object, standing: RolloutStatus, __: float) -> Plan | str:
        state = standing.current
        if state is None or (state.old, state.new) != (judged.old, judged.new):
            return "another rollout has begun"
        return Plan(state=replace(state, audit=counts), what="audit", reason=counts.text)

    return _change(cluster, name, propose, now=0.0)  # the clock isn't needed


def rollback(cluster: Cluster, name: str, *, undo: bool = True) -> RolloutOutcome:
    """Give all requests to the previous revision at once.

    Only the traffic is changed, so this also works while the new revision fails. During a rollout, the previous
    revision is the old one; after a rollout, it is the revision that was replaced. A second rollback restores the
    revision that was rolled back, if it had all requests before and is ready. A revision that never had all requests
    (it was assessed as worse, or its rollout was stopped) serves again only by `promote`.

    Args:
        cluster: Connection to the cluster, in the function's namespace.
        name: Name of the function.
        undo: Whether a second rollback restores the revision that was rolled back; with False it changes nothing.

    Raises:
        NotFoundError: When there is no such function, or no revision before it (any more).
        StartError: When the revision to return to has failed.
        ConflictError: When another manager set the traffic.
        ClusterError: When the API server refuses.
    """
    return _change(cluster, name, lambda _, standing, now: plan_rollback(standing, now, undo=undo), settle_s=SETTLE_S)


def fix_traffic(cluster: Cluster, name: str, *, adopt: bool = False) -> bool:
    """Replace "latest revision" in the traffic by the revision's name, so that the next deploy starts at 0 %.

    A Service that doesn't exist, or, without `adopt`, that Eaves didn't make, stays unchanged.

    Args:
        cluster: Connection to the cluster, in the function's namespace.
        name: Name of the function.
        adopt: Take the traffic over from another manager.

    Returns:
        Whether the traffic was changed.

    Raises:
        ConflictError: When another manager set the traffic.
        ClusterError: When the API server refuses.
    """

    def propose(service: Object, standing: RolloutStatus, _: float) -> Plan | None:
        return plan_fixed(standing) if adopt or is_ours(service) else None

    with suppress(NotFoundError):  # the first deploy has no traffic to keep
        return _change(cluster, name, propose, now=0.0, adopt=adopt).changed  # the clock isn't needed
    return False


def read_service(cluster: Cluster, name: str, *, settle_s: float = 0.0) -> Manifest:
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
        for service in cluster.watch(KSERVICE, name, timeout_s=settle_s):
            if service is None or parse_rollout_status(service).settled:
                break
    if service is None:
        raise absent_function(cluster, name)
    return service


def read_health(cluster: Cluster, name: str) -> RevisionHealth:
    """Read the health of a revision, by its condition Ready."""
    revision = cluster.get(REVISION, name)
    if revision is None:
        return RevisionHealth(name=name, exists=False, ready=None)
    ready = condition(revision, "Ready")
    is_ready = {"True": True, "False": False}.get(str(ready.get("status", "")))
    return RevisionHealth(name=name, ready=is_ready, message=str(ready.get("message") or ready.get("reason") or ""))


def _change(
    cluster: Cluster,
    name: str,
    propose: Propose,
    *,
    now: float | None = None,
    adopt: bool = False,
    settle_s: float = 0.0,
    pin_wait_s: float | None = None,
) -> RolloutOutcome:
    """Read a Service, plan a change and write it; start again when another process wrote in between.

    The API server's clock is used unless `now` is given, since all processes that advance a rollout share it.

    Raises:
        ConflictError: When another manager owns the traffic (then with `causes`), or the Service changes faster than it
            can be read.
        EavesError: When `propose` or `read_service` raises it.
    """
    for _ in range(ATTEMPTS):
        service = read_service(cluster, name, settle_s=settle_s)
        standing = parse_rollout_status(service)
        plan = propose(service, standing, cluster.clock() if now is None else now)
        if not isinstance(plan, Plan):
            kept = standing.fault or (standing.state.reason if standing.state is not None else "")
            return RolloutOutcome(
                name=name,
                what="nothing",
                reason=kept if plan is None else plan,
                changed=False,
                state=standing.state,
                shares=standing.shares,
            )
        _require(cluster, plan, standing)
        if pin_wait_s is not None:
            require_pinned(cluster, service, standing, plan, wait_s=pin_wait_s)
        try:
            changed = _write(cluster, service, plan, force=adopt)
        except ConflictError as error:
            if not error.causes:
                continue
            managers = ", ".join(sorted({manager for manager, _ in error.causes}))
            hint = "`eaves deploy IMAGE --on knative --adopt` takes the shares over"
            raise ConflictError(
                f"the shares of {name} were set by {managers}",
                hint=f"{hint}; if a GitOps controller sets them, change its file instead",
                causes=error.causes,
            ) from error
        shares = standing.shares if plan.traffic is None else plan.traffic
        is_promotion = plan.state.phase is RolloutPhase.DONE and plan.what != RolloutAction.ROLL_BACK
        return RolloutOutcome(
            name=name,
            what=plan.what if changed or plan.what == RolloutAction.WAIT else "nothing",
            reason=plan.reason or plan.state.reason or plan.state.phase.value,
            changed=changed,
            state=plan.state,
            shares=shares,
            stopped=() if is_promotion else tuple(sorted(standing.shares.keys() - shares)),
        )
    raise ConflictError(f"the Service {name} changes too often to be updated", hint="try again in a moment")


def _require(cluster: Cluster, plan: Plan, standing: RolloutStatus) -> None:
    """Raise an error unless a plan's revisions can take requests; Knative would otherwise change no share at all.

    Raises:
        NotFoundError: When a revision no longer exists.
        StartError: When a revision has failed, or isn't ready and must be.
    """
    for revision in plan.needs:
        health = read_health(cluster, revision)
        if not health.exists:
            raise NotFoundError(
                f"the revision {revision} no longer exists; Knative deletes old revisions",
                hint="deploy its container image again",
            )
        if health.ready is False or (health.ready is None and revision == standing.newest):
            state = "failed" if health.ready is False else "isn't ready yet"
            raise StartError(
                f"{revision} {state}: {health.message or 'no reason given'}",
                hint=f"eaves logs {standing.name} --on knative",
            )


def _write(cluster: Cluster, service: Object, plan: Plan, *, force: bool = False) -> bool:
    """Write a plan to a Service; return whether a write was necessary.

    Raises:
        ConflictError: When another manager owns the traffic (the error then has `causes`), or the Service has changed
            since it was read (it then has none).
        ClusterError: When the API server refuses.
    """
    annotation, metadata = render_state(plan.state), service["metadata"]
    wanted = before = spec_of(service).get("traffic")
    if plan.traffic is not None:
        wanted = [*build_traffic(plan.traffic), *_keep_tags(service, plan.state)]
    if wanted == before and annotation == (metadata.get("annotations") or {}).get(ROLLOUT_ANNOTATION):
        return False
    # With its UID, a Service that was removed since isn't made again.
    named = {field: metadata[field] for field in ("name", "namespace", "resourceVersion", "uid")}
    manifest: Manifest = {
        "apiVersion": KSERVICE.api_version,
        "kind": KSERVICE.kind,
        "metadata": {**named, "annotations": {ROLLOUT_ANNOTATION: annotation}},
    }
    # Server-side apply removes fields that a manager owns and leaves out; other managers' fields stay.
    if plan.traffic is not None or owns_traffic(service):
        manifest["spec"] = {"traffic": wanted}
    cluster.apply(manifest, manager=ROLLOUT_MANAGER, force=force)
    return True


def _keep_tags(service: Object, state: RolloutState) -> list[Object]:
    """Return the entries of a Service's traffic with tags of other people, at 0 %: addresses at which revisions answer.

    Knative changes no share while a revision in the traffic can't answer. So the tags go while the route isn't ready,
    and so does that of a revision that is rolled back.
    """
    if condition(service, "RoutesReady").get("status") == "False":
        return []
    failed = state.new if state.phase is RolloutPhase.ROLLED_BACK else None
    tagged = [one for one in service["spec"].get("traffic") or () if one.get("tag")]
    return [{**one, "percent": 0} for one in tagged if one.get("revisionName", "") != failed]
