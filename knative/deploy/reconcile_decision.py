"""The decision of `reconcile` for a site: apply the last deployment again, deploy a pending one, or do nothing. Pure.

The record in the cluster decides. What a workspace (a directory with an eaves.yaml) remembers counts only if nobody
else has deployed since, and no clock is compared, so a newer deploy is never reverted.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from knative.deploy.deploy_sequence import DeploymentMark, describe_deployment, mark_of, take_over
from knative.deploy.function_image import FunctionImage
from knative.deploy.objects.inventory import DeploymentRecord


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
    """Action of `reconcile` at a site."""

    BRING = "bring"
    """Deploy the decision's `image` as a new deployment."""
    KEEP = "keep"
    """Apply the last deployment again, if this workspace renders the same objects for it."""
    LEAVE = "leave"
    """Apply nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileDecision:
    """Action of `reconcile` at a site, with the reason.

    Attributes:
        verb: The action.
        image: Container image to deploy; None when no new deployment is made.
        reason: Reason why the workspace doesn't get what it wants, for people; empty when it does.
        agreed: Whether the workspace wants the same as the cluster.
    """

    verb: ReconcileAction
    image: FunctionImage | None = None
    reason: str = ""
    agreed: bool = True


def decide_reconcile(last: DeploymentRecord | None, serving: str, wish: WantedDeployment) -> ReconcileDecision:
    """Decide what `reconcile` does at a site.

    Args:
        last: Newest deployment in the cluster's record; None when there is no record.
        serving: Container image of the function's Service; empty when there is no Service.
        wish: The deployment that the workspace (a directory with an eaves.yaml) wants.
    """
    wanted = wish.newer_than(last)
    if last is None:
        return _decide_without_record(serving, wanted, wish)
    if not last.image:
        return ReconcileDecision(
            verb=ReconcileAction.LEAVE, reason=f"{describe_deployment(last)}, and has not finished", agreed=False
        )
    if wanted is None:
        return ReconcileDecision(verb=ReconcileAction.KEEP)
    if wish.memory.known == mark_of(last):
        return ReconcileDecision(verb=ReconcileAction.BRING, image=wanted)
    reason = (
        f"{describe_deployment(last)}; that deployment is kept, because {wanted.name} in this workspace may be older"
    )
    return ReconcileDecision(
        verb=ReconcileAction.KEEP, reason=f"{reason} (try: {take_over(wanted.name, wish.site)})", agreed=False
    )


def decide_differing(last: DeploymentRecord, image: FunctionImage, wish: WantedDeployment) -> ReconcileDecision:
    """Decide what to do when this workspace renders other objects for the last deployment than were applied.

    The workspace then has another eaves.yaml or another version of Eaves.

    Args:
        last: Newest deployment in the cluster's record.
        image: Container image of that deployment.
        wish: The deployment that the workspace (a directory with an eaves.yaml) wants.
    """
    if wish.memory.known == mark_of(last):
        return ReconcileDecision(verb=ReconcileAction.BRING, image=image)
    reason = (
        f"{describe_deployment(last)}, with another eaves.yaml or another version of Eaves than this "
        "workspace; nothing is applied"
    )
    return ReconcileDecision(
        verb=ReconcileAction.LEAVE, reason=f"{reason} (try: {take_over(last.image, wish.site)})", agreed=False
    )


def _decide_without_record(serving: str, wanted: FunctionImage | None, wish: WantedDeployment) -> ReconcileDecision:
    memory = wish.memory
    if wanted is None:
        reason = "this workspace has deployed nothing to this site, and eaves.yaml names no container image"
        return ReconcileDecision(verb=ReconcileAction.LEAVE, reason=f"{reason} (try: {take_over('IMAGE', wish.site)})")
    if serving == wanted.name or (not serving and memory.known is None):
        return ReconcileDecision(verb=ReconcileAction.BRING, image=wanted)
    if serving and memory.known is None and memory.pending is not None:
        return ReconcileDecision(verb=ReconcileAction.BRING, image=wanted)
    if serving:
        reason = f"{serving} was deployed by an older version of Eaves, which does not record deployments; it is kept"
    else:
        reason = "the function was removed, or the cluster was set up again, since this workspace deployed to it"
    return ReconcileDecision(
        verb=ReconcileAction.LEAVE, reason=f"{reason} (try: {take_over(wanted.name, wish.site)})", agreed=False
    )
