"""One step that brings a site to the deployment in the cluster's record, from any workspace, and rollouts forward.

The step is safe to run on a timer, from several places at once, and while a deploy runs. The record in the cluster
decides. What a workspace (a directory with an eaves.yaml) remembers counts only if nobody else has deployed since, and
no clock is compared, so a newer deploy is never reverted.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from eaves.errors import EavesError, NotFoundError, UnreachableClusterError
from knative import rollout
from knative.client.kinds import KSERVICE
from knative.deploy.function_image import FunctionImage
from knative.deploy.inventory import (
    DeploymentMark,
    DeploymentRecord,
    Inventory,
    Manifests,
    digest_manifests,
    read_inventory,
    take_number,
    take_over,
)
from knative.deploy.removal import prune_pins
from knative.deploy.site_update import SiteDeployment, SiteUpdate, apply_newest
from knative.readiness.conditions import image_of
from knative.resources.metadata import MANAGED_LABEL, MANAGED_VALUE
from knative.resources.rendering import render_app
from knative.settings import SiteSettings

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

Build = Callable[[FunctionImage], SiteDeployment]
Agreed = Callable[[DeploymentRecord], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceMemory:
    """What a workspace (a directory with an eaves.yaml) remembers about a site between two commands.

    Attributes:
        known: Newest deployment of the site when this workspace last wanted the same as the cluster; None when it never
            did.
        pending: Container image of a deploy from this workspace that hasn't reached the site yet; None when there is
            none.
        pending_declared: Container image that eaves.yaml named at that deploy.
    """

    known: DeploymentMark | None = None
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


class ReconcileAction(StrEnum):
    """What `reconcile` does at a site."""

    KEEP = "keep"
    """Apply the last deployment again."""
    BRING = "bring"
    """Deploy the container image that this workspace wants."""
    LEAVE = "leave"
    """Apply nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileDecision:
    """What `reconcile` does at a site.

    Attributes:
        verb: The action.
        image: Container image to deploy, for `BRING`.
        reason: Reason for people why what this workspace wants isn't applied; empty when it is, since the workspace
            wants the same as the cluster's record.
    """

    verb: ReconcileAction
    image: FunctionImage | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStep:
    """One step of the rollout of one function: its outcome, or the error with which it failed."""

    name: str
    outcome: rollout.RolloutOutcome | None = None
    error: EavesError | None = None


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
            return _leave(f"{last.describe()}, and has not finished")
        if wanted is None:
            return ReconcileDecision(verb=ReconcileAction.KEEP)
        if memory.known == last.mark:
            return ReconcileDecision(verb=ReconcileAction.BRING, image=wanted)
        text = f"{last.describe()}; that deployment is kept, because {wanted.name} in this workspace may be older"
        reason = f"{text} (try: {take_over(wanted.name, wish.site)})"
        return ReconcileDecision(verb=ReconcileAction.KEEP, reason=reason)
    if wanted is None:
        text = "this workspace has deployed nothing to this site, and eaves.yaml names no container image"
        return _leave(f"{text} (try: {take_over('IMAGE', wish.site)})")
    if serving == wanted.name or (memory.known is None and (not serving or memory.pending is not None)):
        return ReconcileDecision(verb=ReconcileAction.BRING, image=wanted)
    if serving:
        text = f"nobody recorded who deployed {serving}; it is kept"
    else:
        text = "the function was removed, or the cluster was set up again, since this workspace deployed to it"
    return _leave(f"{text} (try: {take_over(wanted.name, wish.site)})")


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
    if decision.verb is ReconcileAction.KEEP and last is not None:
        wanted = build(last.function_image)
        manifests = render_app(wanted.app)
        if last.rendered == digest_manifests(manifests):
            if not decision.reason:
                agreed(last)
            return _apply(cluster, wanted, manifests, inventory, decision)
        if not decision.reason and wish.memory.known == last.mark:
            decision = ReconcileDecision(verb=ReconcileAction.BRING, image=last.function_image)
        elif not decision.reason:
            text = f"{last.describe()}, with another eaves.yaml or another version of Eaves than this workspace"
            decision = _leave(f"{text}; nothing is applied (try: {take_over(last.image, site.name)})")
    if decision.verb is not ReconcileAction.BRING or decision.image is None:
        with suppress(NotFoundError):
            outcome = advance_and_prune(cluster, app)
            return SiteUpdate(applied=(), outcome=outcome, note=decision.reason)
        return SiteUpdate(applied=(), note=decision.reason)
    wanted = build(decision.image)
    manifests = render_app(wanted.app)
    inventory, _ = take_number(cluster, app, wanted.record(manifests), seen=inventory)
    if inventory.deployment is not None:
        agreed(inventory.deployment)
    return _apply(cluster, wanted, manifests, inventory, decision)


def _apply(
    cluster: Cluster, wanted: SiteDeployment, manifests: Manifests, inventory: Inventory, decision: ReconcileDecision
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
    return SiteUpdate(applied=(*applied, *pruned), outcome=outcome, note=decision.reason)


def advance_all(cluster: Cluster) -> list[RolloutStep]:
    """Advance every rollout of a namespace by one step; a failure for one function never stops the other functions.

    Raises:
        UnreachableClusterError: When the API server doesn't answer; the functions that are left are not tried.
        ClusterError: When the functions can't be listed.
    """
    services = cluster.list(KSERVICE, selector=f"{MANAGED_LABEL}={MANAGED_VALUE}")
    steps = (_advance_one(cluster, str(one["metadata"]["name"])) for one in services)
    return [step for step in steps if step is not None]


def advance_and_prune(cluster: Cluster, name: str) -> rollout.RolloutOutcome:
    """Advance a rollout by one step, and remove the pins that it leaves unneeded."""
    outcome = rollout.advance_rollout(cluster, name)
    if outcome.changed:
        prune_pins(cluster, name)
    return outcome


def _advance_one(cluster: Cluster, name: str) -> RolloutStep | None:
    """Advance the rollout of one function; return None when the function was removed at the same time."""
    try:
        return RolloutStep(name=name, outcome=advance_and_prune(cluster, name))
    except NotFoundError:
        return None
    except UnreachableClusterError:
        raise  # a request for another function would wait as long
    except EavesError as error:
        return RolloutStep(name=name, error=error)


def _leave(reason: str) -> ReconcileDecision:
    return ReconcileDecision(verb=ReconcileAction.LEAVE, reason=reason)
