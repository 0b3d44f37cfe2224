"""What `reconcile` does at a site: apply what the cluster wants, bring what it didn't get yet, or leave it alone. Pure.

The cluster's own record decides. What a workspace notes counts only while nobody else deployed since, and never by a
clock: a newer deploy is never taken back.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from knative.deploy.deploy_sequence import DeploymentMark, describe_deployment, mark_of, take_over
from knative.deploy.function_image import FunctionImage
from knative.deploy.objects.inventory import DeploymentRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceMemory:
    """What a workspace remembers of a site.

    Attributes:
        known: The site's newest deployment when this workspace agreed with it last; None: it never did.
        pending: The container image that a deploy from here hasn't brought to the site yet; None: there is none.
        pending_declared: What eaves.yaml named at that deploy.
    """

    known: DeploymentMark | None = None
    pending: FunctionImage | None = None
    pending_declared: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedDeployment:
    """What a workspace wants at a site.

    Attributes:
        site: Name of the site, for commands that messages propose.
        image: The container image that was deployed last from here, or that eaves.yaml names; None: neither is there.
        declared: What eaves.yaml names now; empty: nothing.
        memory: What it remembers of the site.
    """

    site: str
    image: FunctionImage | None
    declared: str = ""
    memory: WorkspaceMemory = WorkspaceMemory()

    def newer_than(self, last: DeploymentRecord | None) -> FunctionImage | None:
        """The container image that this workspace wants in place of the last deployment's; None: it wants that one."""
        pending = self.memory.pending
        current = not self.declared or self.memory.pending_declared == self.declared
        wanted = pending if pending is not None and current else None
        if wanted is None and (last is None or (self.declared and self.declared != last.declared)):
            wanted = self.image
        return None if wanted is None or (last is not None and wanted.name == last.image) else wanted


class ReconcileAction(StrEnum):
    """What is done at a site."""

    BRING = "bring"
    """Deploy `image` as a new deployment."""
    KEEP = "keep"
    """Apply the last deployment again, where it is rendered alike here."""
    LEAVE = "leave"
    """Apply nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileDecision:
    """What is done at a site, and why.

    Attributes:
        verb: What is done.
        image: The container image; None when nothing is applied.
        reason: Why the workspace doesn't get what it wants, for people; empty when it does.
        agreed: Whether the workspace wants what the cluster wants.
    """

    verb: ReconcileAction
    image: FunctionImage | None = None
    reason: str = ""
    agreed: bool = True


def decide_reconcile(last: DeploymentRecord | None, serving: str, wish: WantedDeployment) -> ReconcileDecision:
    """Decide what to do at a site.

    Args:
        last: The newest deployment by the cluster's record; None: there is no record.
        serving: The container image that the function's Service has; empty: there is no Service.
        wish: What the workspace wants.
    """
    wanted = wish.newer_than(last)
    if last is None:
        return _decide_without_record(serving, wanted, wish)
    if not last.image:
        return ReconcileDecision(
            verb=ReconcileAction.LEAVE, reason=f"{describe_deployment(last)}, which isn't finished", agreed=False
        )
    if wanted is None:
        return ReconcileDecision(verb=ReconcileAction.KEEP)
    if wish.memory.known == mark_of(last):
        return ReconcileDecision(verb=ReconcileAction.BRING, image=wanted)
    reason = f"{describe_deployment(last)}; it stays, as this workspace's {wanted.name} may be older"
    return ReconcileDecision(
        verb=ReconcileAction.KEEP, reason=f"{reason} (try: {take_over(wanted.name, wish.site)})", agreed=False
    )


def decide_differing(last: DeploymentRecord, image: FunctionImage, wish: WantedDeployment) -> ReconcileDecision:
    """Decide about a last deployment that isn't rendered alike here: eaves.yaml or the version of Eaves differs.

    Args:
        last: The newest deployment by the cluster's record.
        image: Its container image.
        wish: What the workspace wants.
    """
    if wish.memory.known == mark_of(last):
        return ReconcileDecision(verb=ReconcileAction.BRING, image=image)
    reason = f"{describe_deployment(last)}, with another eaves.yaml or version of Eaves than here; nothing is applied"
    return ReconcileDecision(
        verb=ReconcileAction.LEAVE, reason=f"{reason} (try: {take_over(last.image, wish.site)})", agreed=False
    )


def _decide_without_record(serving: str, wanted: FunctionImage | None, wish: WantedDeployment) -> ReconcileDecision:
    memory = wish.memory
    if wanted is None:
        told = "nothing was deployed here from this workspace, and eaves.yaml names no container image"
        return ReconcileDecision(verb=ReconcileAction.LEAVE, reason=f"{told} (try: {take_over('IMAGE', wish.site)})")
    if serving == wanted.name or (not serving and memory.known is None):
        return ReconcileDecision(verb=ReconcileAction.BRING, image=wanted)
    if serving and memory.known is None and memory.pending is not None:
        return ReconcileDecision(verb=ReconcileAction.BRING, image=wanted)
    if serving:
        told = f"{serving} was deployed by an older version of Eaves, which keeps no record of who and when; it stays"
    else:
        told = "the function was removed, or the cluster was made anew, since this workspace deployed to it"
    return ReconcileDecision(
        verb=ReconcileAction.LEAVE, reason=f"{told} (try: {take_over(wanted.name, wish.site)})", agreed=False
    )
