"""A deploy to one site: recorded as the newest one, applied, waited for, and rolled out as far as it goes by itself.

Every step can be taken again: whoever is killed on the way, or finds the site silent, calls it again and it goes on.
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
from knative.diagnosis import collect_evidence, given_up, is_ready, observed
from knative.readiness.progress import DeploymentProgress
from knative.readiness.wait import wait_whole
from knative.render.rendering import render_app
from knative.resources.fields.labels import MANAGED_LABEL, MANAGED_VALUE
from knative.settings import KnativeSettings, RolloutSettings, SiteSettings
from knative.specs import ClusterApp

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

SOMEBODY = "somebody"
"""Who deploys, where a caller doesn't say."""
POLL_S = 5.0
"""Between two looks at a rollout that is watched."""
PATIENCE_S = 900.0
"""Without a link, before giving up watching one."""
LOOK_S = 1.0
"""Seconds for which objects are applied before it is looked again whether somebody else deployed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteDeployment:
    """What a site is to have, and how far to go.

    Attributes:
        app: The app.
        knative: Settings of the objects in the cluster.
        rollout: How a new revision takes over.
        by: Who deploys, `USER@HOST`.
        declared: Container image as eaves.yaml names it; empty when it names none.
        adopt: Take over what others made.
        dry_run: Let the server judge, change nothing.
        ready_s: Seconds in which it must become ready; 0: don't wait.
        follow: Stay until the rollout ends.
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
        """Whose objects they are."""
        function = self.app.function
        return AppOwner(app=function.name, site=function.site, agents=self.knative.agent_namespace)

    def intent(self, manifests: Manifests) -> DeployIntent:
        """The same as the cluster keeps it."""
        function = self.app.function
        image = FunctionImage(name=function.image, artifact_digest=function.artifact_digest or "", task=function.task)
        return DeployIntent(
            by=self.by, site=function.site, image=image, declared=self.declared, rendered=digest_manifests(manifests)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteUpdate:
    """What became of a site.

    Attributes:
        applied: Each object.
        outcome: Of the rollout; None when nothing was begun.
        note: What whoever asked for it should know: who deployed what, and why this workspace's wish was not applied.
    """

    applied: tuple[ApplyResult, ...]
    outcome: rollout.RolloutOutcome | None = None
    note: str = ""

    @property
    def changed(self) -> int:
        """Objects that aren't as they were."""
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
    """Deploy: record the deployment as the newest one, apply, wait, roll out.

    Args:
        cluster: Connection to the site's cluster.
        site: The site.
        wanted: What it is to have.
        show: Told how it becomes ready.
        tell: Told each step of the rollout, and whose deployment is replaced.
        taken: Told the deployment once the cluster has recorded it.
        poll_s: Seconds between two looks at a rollout that is followed.

    Raises:
        ConfigError: When eaves.yaml lacks what a cluster needs.
        ConflictError: When others own what would be changed, or somebody else deploys at the same time.
        StartError: When it doesn't become ready, or a followed rollout doesn't end with the new revision.
        ClusterError: When the cluster refuses or fails.
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
        # An earlier deploy applied its Service once more before it saw this one.
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

    That is looked at before anything is applied, before the function's Service is, before objects are removed, and
    every second. Where the inventory is written, the API server looks.

    Raises:
        ConflictError: When others own what would be changed, or somebody deployed or removed the app since.
        ClusterError: When the cluster refuses or fails.
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
        # After the last one the inventory is written, which tells as well.
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
        if not error.causes and not stopped:  # the inventory changed meanwhile: it says who did it
            hold.require_newest(cluster, before=name_rest())
        raise
    if _may_leave_pins(inventory, applied, pins):
        applied += prune_pins(cluster, name, keep=pins)
    if _unchanged(applied):
        retry_revision(cluster, name)
    return tuple(applied)


def _may_leave_pins(inventory: Inventory, applied: Sequence[ApplyResult], pins: Collection[str]) -> bool:
    """Whether an app may have pins that are no longer needed: listed ones, or those of an Eaves that kept no list."""
    unlisted = not inventory.items and any(one.outcome != CREATED for one in applied)
    return unlisted or bool(listed_pins(inventory) - set(pins))


def read_image(cluster: Cluster, name: str) -> str:
    """The container image that a function's Service asks for; empty when there is no Service.

    Raises:
        ClusterError: When the cluster can't be asked.
    """
    return image_of_service(cluster.get(KSERVICE, name))


def image_of_service(service: Mapping[str, Any] | None) -> str:
    """The container image that a Knative Service asks for; empty when there is no Service."""
    containers = (service or {}).get("spec", {}).get("template", {}).get("spec", {}).get("containers") or [{}]
    return str(containers[0].get("image", ""))


def _unchanged(applied: Sequence[ApplyResult]) -> bool:
    return all(one.outcome == UNCHANGED for one in applied if one.kind == KSERVICE.kind)


def retry_revision(cluster: Cluster, name: str) -> bool:
    """Let Knative make a revision again that it gave up: applying the same once more wouldn't.

    What stood in the way may be mended since: a secret that was missing, a registry that didn't answer.

    Returns:
        Whether there was one.

    Raises:
        ClusterError: When the cluster refuses or fails.
    """
    service = cluster.get(KSERVICE, name)
    if service is None or is_ready(service) or not observed(service):
        return False
    if not given_up(collect_evidence(cluster, name, service=service, now=cluster.clock())):
        return False
    return cluster.delete(REVISION, str(service["status"]["latestCreatedRevisionName"]))


def keep_traffic(cluster: Cluster, name: str, *, adopt: bool = False) -> Mapping[str, Any] | None:
    """Before applying: what serves goes on serving. A Service that isn't ours is left alone until it is taken over.

    Returns:
        The Service as it is now; None when there is none.

    Raises:
        ConflictError: When somebody else set the shares.
        ClusterError: When the cluster refuses or fails.
    """
    service = cluster.get(KSERVICE, name)
    if service is None or rollout.parse_rollout_status(service).pinned:
        return service  # the first deploy has nothing to keep, and most others have it kept already
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
    """Advance a rollout until it ends; a link that is down meanwhile is waited for.

    Args:
        cluster: Connection to the site's cluster.
        name: Name of the function.
        hold: The deployment whose rollout is followed; None: whatever is rolled out.
        tell: Told whenever something is new.
        poll_s: Seconds between two looks.
        patience_s: Seconds without an answer before giving up; whoever reconciles goes on with it.

    Raises:
        ConflictError: When somebody deployed or removed the app since; the rollout is then theirs.
        StartError: When it was rolled back or is held.
        UnreachableClusterError: When the cluster is silent for too long.
        ClusterError: When the cluster refuses or fails.
    """
    said, heard = "", time.monotonic()
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
        if text != said:
            tell(text)
            said = text
        if ended:
            break
        time.sleep(poll_s)
    if outcome.state is None or outcome.state.phase is not rollout.RolloutPhase.DONE:
        raise StartError(f"{name} was not promoted: {text}", hint=f"eaves rollout {name}")
    return outcome


def describe_outcome(outcome: rollout.RolloutOutcome) -> str:
    """A rollout in one line."""
    shares = ", ".join(f"{revision} {percent} %" for revision, percent in outcome.shares.items())
    phase = outcome.state.phase.value if outcome.state is not None else "no rollout"
    reason = "" if outcome.reason == phase else outcome.reason
    return ": ".join(part for part in (shares, phase, reason) if part)
