"""A deploy to one site: recorded as the newest one, applied, awaited, and rolled out as far as possible.

Every step can be repeated: after the process was killed, or the site didn't answer, the next call continues the deploy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from eaves.errors import ConflictError, StartError, UnreachableClusterError
from knative import rollout
from knative.client.kinds import KSERVICE, REVISION, kind_of
from knative.deploy.app_apply import apply_app
from knative.deploy.deploy_sequence import (
    ATTEMPTS,
    DeployIntent,
    DeploymentHold,
    Manifests,
    digest_manifests,
    take_number,
)
from knative.deploy.function_image import FunctionImage
from knative.deploy.objects.apply_result import CREATED, UNCHANGED, ApplyResult
from knative.deploy.objects.inventory import DeploymentRecord, Inventory
from knative.deploy.objects.labelled_objects import AppOwner
from knative.deploy.pins import add_pins, add_pins_of, keep_pins, listed_pins, names_of_pins, prune_pins
from knative.deploy.rollout_advance import prune_after
from knative.readiness.conditions import is_ready, observed
from knative.readiness.diagnosis import FunctionReader
from knative.readiness.wait import DeploymentProgress, wait_whole
from knative.resources.metadata import MANAGED_LABEL, MANAGED_VALUE
from knative.resources.rendering import render_app
from knative.settings import KnativeSettings, RolloutSettings, SiteSettings
from knative.specs import ClusterApp

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

SOMEBODY = "somebody"
"""Name that is recorded for the user who deploys, when the caller gives none."""
POLL_S = 5.0
"""Seconds between two steps of a rollout that a command waits for."""
PATIENCE_S = 900.0
"""Seconds without a connection after which waiting for a rollout fails."""
LOOK_S = 1.0
"""Seconds between two reads of the inventory while objects are applied, to detect another user's deploy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteDeployment:
    """A deployment for a site, and how long the deploy waits for it.

    Attributes:
        app: The app.
        knative: Settings of the objects in the cluster.
        rollout: Settings of the rollout of a new revision.
        by: User who deploys, `USER@HOST`.
        declared: Container image as eaves.yaml names it; empty when it names none.
        adopt: Whether to take over objects that others made, and fields that other managers own.
        dry_run: Whether the API server only validates the objects, and changes nothing.
        ready_s: Maximum seconds to wait until the deployment is ready; 0 doesn't wait.
        follow: Whether to wait until the rollout has ended.
    """

    app: ClusterApp
    knative: KnativeSettings
    rollout: RolloutSettings = field(default_factory=RolloutSettings)
    by: str = SOMEBODY
    declared: str = ""
    adopt: bool = False
    dry_run: bool = False
    ready_s: float = 0.0
    follow: bool = False

    @property
    def owner(self) -> AppOwner:
        """Name of the app, its site and the namespace of its agents, by which its objects in the cluster are found."""
        function = self.app.function
        return AppOwner(app=function.name, agents=self.knative.agent_namespace)

    def intent(self, manifests: Manifests) -> DeployIntent:
        """Build the description of this deployment that is recorded in the cluster before the objects are applied."""
        function = self.app.function
        image = FunctionImage(name=function.image, artifact_digest=function.artifact_digest or "", task=function.task)
        return DeployIntent(
            by=self.by, site=function.site, image=image, declared=self.declared, rendered=digest_manifests(manifests)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteUpdate:
    """The result of a deploy or a reconcile at a site.

    Attributes:
        applied: Result for each object.
        outcome: Outcome of the rollout; None when no rollout was started.
        note: Note for the user: whose deployment was replaced, or why the workspace's deployment was not applied; else
            empty.
    """

    applied: tuple[ApplyResult, ...]
    outcome: rollout.RolloutOutcome | None = None
    note: str = ""

    @property
    def changed(self) -> int:
        """Number of objects that were created, changed or removed."""
        return sum(one.outcome != UNCHANGED for one in self.applied)


def update_site(
    cluster: Cluster,
    site: SiteSettings,
    wanted: SiteDeployment,
    *,
    show: Callable[[DeploymentProgress], None] = lambda progress: None,
    tell: Callable[[str], object] = lambda text: None,
    taken: Callable[[DeploymentRecord], object] = lambda deployment: None,
    poll_s: float = POLL_S,
) -> SiteUpdate:
    """Deploy to a site: record the deployment as the newest one, apply it, wait for it, and roll it out.

    Args:
        cluster: Connection to the site's cluster.
        site: The site.
        wanted: The deployment that the site is to have.
        show: Function that gets the progress while the app becomes ready.
        tell: Function that gets a line for each step of the rollout, and a line on whose deployment is replaced.
        taken: Function that is called with the deployment once the cluster has recorded it.
        poll_s: Seconds between two steps of a rollout that is followed.

    Raises:
        ConfigError: When eaves.yaml lacks a setting that a cluster needs.
        ConflictError: When another manager owns a field that would change, or another user deploys at the same time.
        StartError: When the app doesn't become ready, or a followed rollout doesn't end with the new revision.
        ClusterError: When a request to the cluster is refused or fails.
    """
    name = wanted.app.function.name
    manifests = render_app(wanted.app, wanted.knative, site)
    if wanted.dry_run:
        pinned = add_pins(cluster, manifests, wanted.app)
        needed = keep_pins(name, pinned)
        judged = apply_app(cluster, pinned, wanted.owner, needed=needed, adopt=wanted.adopt, dry_run=True)
        return SiteUpdate(applied=tuple(judged))
    hold = take_number(cluster, name, wanted.intent(manifests))
    taken(hold.deployment)
    if hold.note:
        tell(hold.note)
    applied = apply_held(cluster, manifests, wanted, hold)
    if not wanted.ready_s:
        return SiteUpdate(applied=applied, note=hold.note)
    hold = replace(hold, inventory=None)
    wait_whole(cluster, name, manifests, timeout_s=wanted.ready_s, show=show)
    for _ in range(ATTEMPTS):
        inventory = hold.require_newest(cluster, before="its rollout began")
        service = cluster.get(KSERVICE, name)
        if image_of_service(service) == wanted.app.function.image:
            break
        # An earlier deploy applied its Service once more before it read this deploy's record.
        applied = apply_held(cluster, manifests, wanted, hold)
        wait_whole(cluster, name, manifests, timeout_s=wanted.ready_s, show=show)
    outcome = rollout.begin_rollout(cluster, name, wanted.rollout, adopt=wanted.adopt, service=service)
    if wanted.follow:
        outcome = follow_rollout(cluster, name, hold=hold, tell=tell, poll_s=poll_s)
    return SiteUpdate(applied=(*applied, *prune_after(cluster, outcome, inventory)), outcome=outcome, note=hold.note)


def apply_held(
    cluster: Cluster, rendered: Manifests, wanted: SiteDeployment, hold: DeploymentHold
) -> tuple[ApplyResult, ...]:
    """Apply the objects of the newest deployment; stop as soon as it is no longer the newest.

    The inventory is read before the first object is applied, before the function's Service is applied, before objects
    are removed, and every second. When the inventory is written, the API server detects a newer deployment.

    Raises:
        ConflictError: When another manager owns a field that would change, or another user deployed or removed the app
            since.
        ClusterError: When a request to the cluster is refused or fails.
    """
    name = wanted.app.function.name
    manifests = add_pins_of(cluster, rendered, wanted.app, keep_traffic(cluster, name, adopt=wanted.adopt))
    pins = names_of_pins(manifests)
    looked, stopped = time.monotonic(), False
    left = [(kind_of(one).kind, str(one["metadata"]["name"])) for one in manifests]

    total = len(left)

    def name_rest() -> str:
        return (
            "anything was removed"
            if not left
            else "the rest was applied"
            if len(left) < total
            else "anything was applied"
        )

    def look(applied: ApplyResult) -> None:
        nonlocal looked, stopped
        rendered_one = (applied.kind, applied.name) in left
        if rendered_one:
            left.remove((applied.kind, applied.name))
        # After the last object the inventory is written, which also detects a newer deployment.
        due = bool(left) and left[0] == (KSERVICE.kind, name) if rendered_one else not left
        if due or time.monotonic() - looked > LOOK_S:
            stopped = True
            hold.require_newest(cluster, before=name_rest())
            looked, stopped = time.monotonic(), False

    inventory = hold.inventory or hold.require_newest(cluster, before="anything was applied")
    needed = keep_pins(name, manifests)
    try:
        applied = apply_app(
            cluster, manifests, wanted.owner, inventory=inventory, needed=needed, adopt=wanted.adopt, show=look
        )
    except ConflictError as error:
        if not error.causes and not stopped:  # the inventory changed at the same time: it names the user
            hold.require_newest(cluster, before=name_rest())
        raise
    if _may_leave_pins(inventory, applied, pins):
        applied += prune_pins(cluster, name, keep=pins)
    if _unchanged(applied):
        retry_revision(cluster, name)
    return tuple(applied)


def _may_leave_pins(inventory: Inventory, applied: Sequence[ApplyResult], pins: Collection[str]) -> bool:
    """Return whether an app may have pins that it no longer needs.

    They are listed in the inventory, or an earlier version of Eaves listed none.
    """
    unlisted = not inventory.items and any(one.outcome != CREATED for one in applied)
    return unlisted or bool(listed_pins(inventory) - set(pins))


def read_image(cluster: Cluster, name: str) -> str:
    """Return the container image in a function's Knative Service; empty when there is no Service.

    Raises:
        ClusterError: When a request to the cluster is refused or fails.
    """
    return image_of_service(cluster.get(KSERVICE, name))


def image_of_service(service: Mapping[str, Any] | None) -> str:
    """Return the container image in a Knative Service; empty when there is no Service."""
    containers = (service or {}).get("spec", {}).get("template", {}).get("spec", {}).get("containers") or [{}]
    return str(containers[0].get("image", ""))


def _unchanged(applied: Sequence[ApplyResult]) -> bool:
    return all(one.outcome == UNCHANGED for one in applied if one.kind == KSERVICE.kind)


def retry_revision(cluster: Cluster, name: str) -> bool:
    """Delete a revision that Knative has given up, so that Knative makes it again and tries to start it.

    Applying the same Service again would not do that. The reason for the failure may be fixed by now, such as a missing
    Secret or a registry that didn't answer.

    Returns:
        Whether there was such a revision.

    Raises:
        ClusterError: When a request to the cluster is refused or fails.
    """
    service = cluster.get(KSERVICE, name)
    if service is None or is_ready(service) or not observed(service):
        return False
    if not FunctionReader(cluster).read(name, service=service).given_up:
        return False
    return cluster.delete(REVISION, str(service["status"]["latestCreatedRevisionName"]))


def keep_traffic(cluster: Cluster, name: str, *, adopt: bool = False) -> Mapping[str, Any] | None:
    """Write the name of the serving revision into the traffic, so that a deploy leaves the traffic unchanged.

    Without `adopt`, a Service that Eaves didn't make stays unchanged.

    Returns:
        The present Service; None when there is none.

    Raises:
        ConflictError: When another manager set the traffic.
        ClusterError: When a request to the cluster is refused or fails.
    """
    service = cluster.get(KSERVICE, name)
    if service is None or rollout.parse_rollout_status(service).pinned:
        return service  # the first deploy has no traffic to keep, and most later deploys find it named already
    if adopt or service["metadata"].get("labels", {}).get(MANAGED_LABEL) == MANAGED_VALUE:
        rollout.pin(cluster, name, adopt=adopt)
        return cluster.get(KSERVICE, name)
    return service


def follow_rollout(
    cluster: Cluster,
    name: str,
    *,
    hold: DeploymentHold | None = None,
    tell: Callable[[str], object] = lambda text: None,
    poll_s: float = POLL_S,
    patience_s: float = PATIENCE_S,
) -> rollout.RolloutOutcome:
    """Advance a rollout until it ends; while the cluster can't be reached, wait for it.

    Args:
        cluster: Connection to the site's cluster.
        name: Name of the function.
        hold: The deployment whose rollout is followed; None follows any rollout of the function.
        tell: Function that gets a line whenever the rollout's state changes.
        poll_s: Seconds between two steps.
        patience_s: Seconds without an answer after which the wait fails; a later `reconcile` continues the rollout.

    Raises:
        ConflictError: When another user deployed or removed the app during the wait; the rollout then belongs to that
            deployment.
        StartError: When the rollout was rolled back or is held.
        UnreachableClusterError: When the cluster doesn't answer for `patience_s` seconds.
        ClusterError: When a request to the cluster is refused or fails.
    """
    reported, heard = "", time.monotonic()
    while True:
        ended = False
        try:
            if hold is not None:
                hold.require_newest(cluster, before="its rollout ended")
            outcome = rollout.advance_rollout(cluster, name)
            text, heard, ended = describe_outcome(outcome), time.monotonic(), not outcome.advancing
        except UnreachableClusterError as error:
            if time.monotonic() - heard > patience_s:
                raise
            text = error.message
        if text != reported:
            tell(text)
            reported = text
        if ended:
            break
        time.sleep(poll_s)
    if outcome.state is None or outcome.state.phase is not rollout.RolloutPhase.DONE:
        raise StartError(f"{name} was not promoted: {text}", hint=f"eaves rollout {name}")
    return outcome


def describe_outcome(outcome: rollout.RolloutOutcome) -> str:
    """Describe the state of a rollout in one line."""
    shares = ", ".join(f"{revision} {percent} %" for revision, percent in outcome.shares.items())
    phase = outcome.state.phase.value if outcome.state is not None else "no rollout"
    reason = "" if outcome.reason == phase else outcome.reason
    return ": ".join(part for part in (shares, phase, reason) if part)
