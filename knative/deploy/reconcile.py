"""One step that brings a site to the deployment in the cluster's record, from any workspace, and rollouts forward.

The step is safe to run on a timer, from several places at once, and while a deploy runs. The record in the cluster
decides. What a workspace (a directory with an eaves.yaml) remembers counts only if nobody else has deployed since, and
no clock is compared, so a newer deploy is never reverted.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from eaves.errors import EavesError, NotFoundError, UnreachableClusterError
from knative import rollout
from knative.client.cluster import Cluster
from knative.client.kinds import KSERVICE
from knative.deploy.ownership import prune_pins
from knative.deploy.site_update import SiteDeployment, SiteUpdate, apply_newest
from knative.inventory import (
    DeploymentRecord,
    FunctionImage,
    Inventory,
    Manifests,
    digest_manifests,
    read_inventory,
    take_number,
    take_over,
)
from knative.resources.metadata import OURS
from knative.resources.rendering import render_app
from knative.settings import SiteSettings
from knative.status.conditions import image_of

Build = Callable[[FunctionImage], SiteDeployment]
Agreed = Callable[[DeploymentRecord], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceMemory:
    """What a workspace (a directory with an eaves.yaml) remembers about a site between two commands.

    Attributes:
        known: `DeploymentRecord.mark` of the newest deployment of the site when this workspace last wanted the same as
            the cluster; empty when it never did.
        pending: Container image of a deploy from this workspace that hasn't reached the site yet; None when there is
            none.
        pending_declared: Container image that eaves.yaml named at that deploy.
    """

    known: str = ""
    pending: FunctionImage | None = None
    pending_declared: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedDeployment:
    """The deployment that a workspace (a directory with an eaves.yaml) wants at a site.

    Attributes:
        site: Name of the site, for commands in messages.
        image: Container image that was deployed last from this workspace, or that eaves.yaml names; None when there is
            neither.
        declared: Container image that eaves.yaml names now; empty when it names none.
        memory: State that the workspace has stored about the site.
    """

    site: str
    image: FunctionImage | None
    declared: str = ""
    memory: WorkspaceMemory = WorkspaceMemory()

    def newer_than(self, last: DeploymentRecord | None) -> FunctionImage | None:
        """Return the container image to deploy instead of the last deployment's; None if there is no other."""
        pending = self.memory.pending
        current = not self.declared or self.memory.pending_declared == self.declared
        wanted = pending if pending is not None and current else None
        if wanted is None and (last is None or (self.declared and self.declared != last.declared)):
            wanted = self.image
        return None if wanted is None or (last is not None and wanted.name == last.image) else wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileDecision:
    """What `reconcile` does at a site.

    Attributes:
        image: Container image to apply; None to apply nothing.
        is_new: Whether that is what this workspace wants, and not the last deployment again.
        reason: Reason for people why what this workspace wants isn't applied; empty when it is, since the workspace
            wants the same as the cluster's record.
    """

    image: FunctionImage | None = None
    is_new: bool = False
    reason: str = ""


def decide_reconcile(last: DeploymentRecord | None, serving: str, wish: WantedDeployment) -> ReconcileDecision:
    """Decide what to do at a site. Pure.

    Args:
        last: Newest deployment in the cluster's record; None when there is no record.
        serving: Container image of the function's Service; empty when there is no Service.
        wish: The deployment that the workspace wants.
    """
    wanted, memory = wish.newer_than(last), wish.memory
    if last is not None:
        if not last.image:
            return ReconcileDecision(reason=f"{last.describe()}, and has not finished")
        if wanted is None:
            return ReconcileDecision(image=last.function_image)
        if memory.known == last.mark:
            return ReconcileDecision(image=wanted, is_new=True)
        text = f"{last.describe()}; that deployment is kept, because {wanted.name} in this workspace may be older"
        reason = f"{text} (try: {take_over(wanted.name, wish.site)})"
        return ReconcileDecision(image=last.function_image, reason=reason)
    if wanted is None:
        text = "this workspace has deployed nothing to this site, and eaves.yaml names no container image"
        return ReconcileDecision(reason=f"{text} (try: {take_over('IMAGE', wish.site)})")
    if serving == wanted.name or (not memory.known and (not serving or memory.pending is not None)):
        return ReconcileDecision(image=wanted, is_new=True)
    if serving:
        text = f"nobody recorded who deployed {serving}; it is kept"
    else:
        text = "the function was removed, or the cluster was set up again, since this workspace deployed to it"
    return ReconcileDecision(reason=f"{text} (try: {take_over(wanted.name, wish.site)})")


def reconcile_site(
    cluster: Cluster,
    site: SiteSettings,
    app: str,
    wish: WantedDeployment,
    build: Build,
    *,
    agreed: Agreed = lambda last: None,
) -> SiteUpdate:
    """Apply the recorded deployment, correct objects that were changed, and advance the rollout by one step.

    Args:
        cluster: Connection to the site's cluster.
        site: The site.
        app: Name of the app.
        wish: The deployment that this workspace (a directory with an eaves.yaml) wants at the site.
        build: Function that builds the site's deployment for a container image.
        agreed: Function that is called with the deployment when the workspace and the cluster want the same.

    Raises:
        ConfigError: When eaves.yaml lacks a setting that a cluster needs.
        ConflictError: When another manager owns a field that would change, or another user deploys at the same time.
        ClusterError: When a request to the cluster is refused or fails.
    """
    inventory = read_inventory(cluster, app)
    last = inventory.deployment
    serving = image_of(cluster.get(KSERVICE, app)) if last is None else ""
    decision = decide_reconcile(last, serving, wish)
    if decision.image is None:
        return _only_advance(cluster, app, decision.reason)
    wanted = build(decision.image)
    manifests, reason = render_app(wanted.app), decision.reason
    if last is not None and not decision.is_new:
        if last.rendered == digest_manifests(manifests):
            if not reason:
                agreed(last)
            return _apply(cluster, wanted, manifests, inventory, reason)
        if reason or wish.memory.known != last.mark:
            text = f"{last.describe()}, with another eaves.yaml or another version of Eaves than this workspace"
            text = f"{text}; nothing is applied (try: {take_over(last.image, site.name)})"
            return _only_advance(cluster, app, reason or text)
    inventory, _ = take_number(cluster, app, wanted.record(manifests), seen=inventory)
    if inventory.deployment is not None:
        agreed(inventory.deployment)
    return _apply(cluster, wanted, manifests, inventory, reason)


def _only_advance(cluster: Cluster, app: str, reason: str) -> SiteUpdate:
    """Advance the rollout of an app, if there is one, and apply nothing."""
    with suppress(NotFoundError):
        return SiteUpdate(applied=(), outcome=advance_and_prune(cluster, app), note=reason)
    return SiteUpdate(applied=(), note=reason)


def _apply(
    cluster: Cluster, wanted: SiteDeployment, manifests: Manifests, inventory: Inventory, note: str
) -> SiteUpdate:
    name = wanted.app.function.name
    try:
        applied = apply_newest(cluster, manifests, wanted, inventory)
    except EavesError:
        with suppress(EavesError):  # the serving revisions are judged even when other objects can't be applied
            rollout.advance_rollout(cluster, name)
        raise
    outcome = rollout.advance_rollout(cluster, name, settings=wanted.rollout)
    pruned = prune_pins(cluster, name) if outcome.changed else []
    return SiteUpdate(applied=(*applied, *pruned), outcome=outcome, note=note)


def advance_all(cluster: Cluster) -> dict[str, rollout.RolloutOutcome | EavesError]:
    """Advance every rollout of a namespace by one step; a failure for one function never stops the other functions.

    Returns:
        Outcome of each function by its name, or the error with which its step failed.

    Raises:
        UnreachableClusterError: When the API server doesn't answer; the functions that are left are not tried.
        ClusterError: When the functions can't be listed.
    """
    steps: dict[str, rollout.RolloutOutcome | EavesError] = {}
    for service in cluster.list(KSERVICE, selector=OURS):
        name = str(service["metadata"]["name"])
        try:
            steps[name] = advance_and_prune(cluster, name)
        except NotFoundError:
            continue  # it was removed at the same time
        except UnreachableClusterError:
            raise  # a request for another function would wait as long
        except EavesError as error:
            steps[name] = error
    return steps


def advance_and_prune(cluster: Cluster, name: str) -> rollout.RolloutOutcome:
    """Advance a rollout by one step, and remove the pins that it leaves unneeded."""
    outcome = rollout.advance_rollout(cluster, name)
    if outcome.changed:
        prune_pins(cluster, name)
    return outcome
