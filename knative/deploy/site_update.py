"""A deploy to one site: recorded as the newest one, applied, awaited, and rolled out as far as possible.

Every step can be repeated: after the process was killed, or the site didn't answer, the next call continues the deploy.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from eaves.errors import StartError, UnreachableClusterError
from knative import rollout
from knative.client.cluster import Cluster
from knative.client.kinds import KSERVICE, REVISION, kind_of
from knative.deploy.apply import apply_app
from knative.deploy.ownership import UNCHANGED, ApplyResult, Object, is_pin_key, prune_pins
from knative.inventory import DeploymentRecord, Inventory, Manifests, digest_manifests, take_number
from knative.resources.function import is_pin
from knative.resources.metadata import AppOwner
from knative.resources.rendering import render_app
from knative.settings import ClusterApp, RolloutSettings
from knative.status.conditions import image_of, observed
from knative.status.diagnosis import read_function
from knative.status.wait import Rows, wait_ready

SOMEBODY = "somebody"
"""Name that is recorded for the user who deploys, when the caller gives none."""
POLL_S = 5.0
"""Seconds between two steps of a rollout that a command waits for."""
MAX_SILENCE_S = 900.0
"""Seconds without a connection after which waiting for a rollout fails."""
INTERVAL_S = 1.0
"""Seconds between two reads of the inventory while objects are applied, to detect another user's deploy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteDeployment:
    """A deployment for a site, and how long the deploy waits for it.

    Attributes:
        app: The app.
        rollout: Settings of the rollout of a new revision.
        by: User who deploys, `USER@HOST`.
        declared: Container image as eaves.yaml names it; empty when it names none.
        adopt: Whether to take over objects that others made, and fields that other managers own.
        dry_run: Whether the API server only validates the objects, and changes nothing.
        ready_s: Maximum seconds to wait until the deployment is ready; 0 doesn't wait.
        follow: Whether to wait until the rollout has ended.
    """

    app: ClusterApp
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
        return AppOwner(app=function.name, agents=self.app.knative.agent_namespace)

    def record(self, manifests: Manifests) -> DeploymentRecord:
        """Build the record of this deployment that is stored in the cluster before the objects are applied."""
        function = self.app.function
        return DeploymentRecord(
            by=self.by,
            site=function.site,
            image=self.app.image,
            artifact=function.artifact_digest or "",
            task=function.task,
            declared=self.declared,
            rendered=digest_manifests(manifests),
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


def update_site(
    cluster: Cluster,
    wanted: SiteDeployment,
    *,
    show: Callable[[Rows], object] = lambda rows: None,
    tell: Callable[[str], object] = lambda text: None,
    taken: Callable[[DeploymentRecord], object] = lambda deployment: None,
    poll_s: float = POLL_S,
) -> SiteUpdate:
    """Deploy to a site: record the deployment as the newest one, apply it, wait for it, and roll it out.

    Args:
        cluster: Connection to the site's cluster.
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
    manifests = render_app(wanted.app)
    if wanted.dry_run:
        return SiteUpdate(applied=tuple(apply_app(cluster, manifests, wanted.owner, adopt=wanted.adopt, dry_run=True)))
    inventory, replaced = take_number(cluster, name, wanted.record(manifests))
    if inventory.deployment is not None:
        taken(inventory.deployment)
    note = ""
    if replaced is not None and replaced.by != wanted.by and replaced.image != wanted.app.image:
        note = f"{replaced.describe()}; this deploy replaces it"
        tell(note)
    newest = inventory
    for _ in range(2):
        applied = apply_newest(cluster, manifests, wanted, newest)
        if not wanted.ready_s:
            return SiteUpdate(applied=applied, note=note)
        wait_ready(cluster, name, manifests, timeout_s=wanted.ready_s, show=show)
        newest = inventory.require_newest(cluster, before="its rollout began")
        if image_of(cluster.get(KSERVICE, name)) == wanted.app.image:
            break  # else, an earlier deploy applied its Service once more before it read this deploy's record
    outcome = rollout.begin_rollout(cluster, name, wanted.rollout, adopt=wanted.adopt)
    if wanted.follow:
        outcome = follow_rollout(cluster, name, newest=newest, tell=tell, poll_s=poll_s)
    pruned = prune_pins(cluster, name, inventory=newest) if outcome.changed else []
    return SiteUpdate(applied=(*applied, *pruned), outcome=outcome, note=note)


def apply_newest(
    cluster: Cluster, manifests: Manifests, wanted: SiteDeployment, inventory: Inventory
) -> tuple[ApplyResult, ...]:
    """Apply the objects of the newest deployment; stop as soon as it is no longer the newest.

    The inventory is read before the function's Service is applied, and every second. When the inventory is written,
    before the first object and before any is removed, the API server detects a newer deployment.

    Raises:
        ConflictError: When another manager owns a field that would change, or another user deployed or removed the app
            since.
        ClusterError: When a request to the cluster is refused or fails.
    """
    name, looked = wanted.app.function.name, time.monotonic()

    def check(manifest: Object) -> None:
        nonlocal looked
        if kind_of(manifest) is KSERVICE or time.monotonic() - looked > INTERVAL_S:
            inventory.require_newest(cluster, before="the rest was applied")
            looked = time.monotonic()

    rollout.fix_traffic(cluster, name, adopt=wanted.adopt)
    applied = apply_app(cluster, manifests, wanted.owner, inventory=inventory, adopt=wanted.adopt, check=check)
    rendered = {str(one["metadata"]["name"]) for one in manifests if is_pin(one)}
    if any(is_pin_key(name, key) and key.name not in rendered for key in inventory.items):
        applied += prune_pins(cluster, name)
    if all(one.outcome == UNCHANGED for one in applied if one.kind == KSERVICE.kind):
        _retry_revision(cluster, name)
    return tuple(applied)


def _retry_revision(cluster: Cluster, name: str) -> None:
    """Delete a revision that Knative has given up, so that Knative makes it again and tries to start it.

    Applying the same Service again would not do that. The reason for the failure may be fixed by now, such as a missing
    Secret or a registry that didn't answer.
    """
    service = cluster.get(KSERVICE, name)
    if service is not None and observed(service) and read_function(cluster, name, service=service).given_up:
        cluster.delete(REVISION, str(service["status"]["latestCreatedRevisionName"]))


def follow_rollout(
    cluster: Cluster,
    name: str,
    *,
    newest: Inventory,
    tell: Callable[[str], object] = lambda text: None,
    poll_s: float = POLL_S,
) -> rollout.RolloutOutcome:
    """Advance a rollout until it ends; while the cluster can't be reached, wait for it.

    Args:
        cluster: Connection to the site's cluster.
        name: Name of the function.
        newest: Inventory with the deployment whose rollout is followed.
        tell: Function that gets a line whenever the rollout's state changes.
        poll_s: Seconds between two steps.

    Raises:
        ConflictError: When another user deployed or removed the app during the wait; the rollout then belongs to that
            deployment.
        StartError: When the rollout was rolled back or is held.
        UnreachableClusterError: When the cluster is silent for `MAX_SILENCE_S` seconds; a later `reconcile` continues.
        ClusterError: When a request to the cluster is refused or fails.
    """
    reported, heard = "", time.monotonic()
    outcome: rollout.RolloutOutcome | None = None
    while outcome is None or outcome.advancing:
        try:
            newest.require_newest(cluster, before="its rollout ended")
            outcome = rollout.advance_rollout(cluster, name)
            text, heard = describe_outcome(outcome), time.monotonic()
        except UnreachableClusterError as error:
            if time.monotonic() - heard > MAX_SILENCE_S:
                raise
            outcome, text = None, error.message
        if text != reported:
            tell(text)
            reported = text
        if outcome is None or outcome.advancing:
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
