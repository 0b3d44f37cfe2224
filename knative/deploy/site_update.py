"""A deploy to one site: recorded as the newest one, applied, awaited, and rolled out as far as possible; and reconcile.

Every step can be repeated: after the process was killed, or the site didn't answer, the next call continues the deploy.

`reconcile` brings a site to the deployment in the cluster's record, from any workspace, and rollouts forward. It is
safe to run on a timer, from several places at once, and while a deploy runs. The record in the cluster decides. What a
workspace (a directory with an eaves.yaml) remembers counts only if nobody else has deployed since, and no clock is
compared, so a newer deploy is never reverted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from eaves.errors import EavesError, NotFoundError, StartError, UnreachableClusterError
from eaves.problem_document import revision_mark
from eaves.rollout import RolloutPhase, RolloutSettings
from knative import rollout
from knative.client.cluster import Cluster
from knative.client.kinds import KSERVICE, REVISION, Object, kind_of
from knative.deploy.apply import apply_app
from knative.deploy.ownership import UNCHANGED, ApplyResult, is_pin_key, prune_pins
from knative.inventory import (
    DeploymentRecord,
    FunctionImage,
    Inventory,
    Manifests,
    WorkspaceMemory,
    digest_manifests,
    read_inventory,
    take_number,
    take_over,
)
from knative.resources.function import is_pin
from knative.resources.metadata import OURS, AppOwner
from knative.resources.rendering import render_app
from knative.settings import ClusterApp, SiteSettings
from knative.status.conditions import image_of, name_of, observed
from knative.status.readiness import Rows, read_function, wait_ready

SOMEBODY = "somebody"
"""Name that is recorded for the user who deploys, when the caller gives none."""
POLL_S = 5.0
"""Seconds between two steps of a rollout that a command waits for."""
MAX_SILENCE_S = 900.0
"""Seconds without a connection after which waiting for a rollout fails."""
MAX_LISTED = 10
"""Maximum number of labels that a line lists."""
CHECK_S = 1.0
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
        ready_s: Maximum seconds to wait until the deployment is ready; 0 doesn't wait.
        follow: Whether to wait until the rollout has ended.
    """

    app: ClusterApp
    rollout: RolloutSettings = field(default_factory=RolloutSettings)
    by: str = SOMEBODY
    declared: str = ""
    adopt: bool = False
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
            classes=self.app.classes,
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
    notify: Callable[[str], object] = lambda text: None,
    taken: Callable[[DeploymentRecord], object] = lambda deployment: None,
    poll_s: float = POLL_S,
) -> SiteUpdate:
    """Deploy to a site: record the deployment as the newest one, apply it, wait for it, and roll it out.

    Args:
        cluster: Connection to the site's cluster.
        wanted: The deployment that the site is to have.
        show: Function that gets the progress while the app becomes ready.
        notify: Function that gets a line for each step of the rollout, and a line on whose deployment is replaced.
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
    inventory, replaced = take_number(cluster, name, wanted.record(manifests))
    if inventory.deployment is not None:
        taken(inventory.deployment)
    notes = []
    if replaced is not None and replaced.by != wanted.by and replaced.image != wanted.app.image:
        notes.append(f"{replaced.describe()}; this deploy replaces it")
    if replaced is not None and (text := compare_classes(replaced.classes, wanted.app.classes)):
        notes.append(text)
    note = "\n".join(notes)
    if note:
        notify(note)
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
        outcome = follow_rollout(cluster, name, site=wanted.app.site, newest=newest, notify=notify, poll_s=poll_s)
    pruned = prune_pins(cluster, name, inventory=newest) if outcome.changed else []
    return SiteUpdate(applied=(*applied, *pruned), outcome=outcome, note=note)


def compare_classes(before: str, after: str) -> str:
    """Describe in one line how the labels of a model differ from those of the one before; empty when they don't.

    Args:
        before: Labels of the model before, as a JSON list; empty when they aren't known.
        after: Labels of the new model.
    """
    old, new = _parse_labels(before), _parse_labels(after)
    if not old or not new:
        return ""
    gone, added = sorted(old - new), sorted(new - old)
    parts = [
        f"{len(labels)} {word} ({', '.join(labels[:MAX_LISTED])}{', ...' if len(labels) > MAX_LISTED else ''})"
        for word, labels in (("gone", gone), ("new", added))
        if labels
    ]
    return f"the model has other labels than the one deployed before: {', '.join(parts)}" if parts else ""


def _parse_labels(text: str) -> set[str]:
    """Return the labels in a JSON list; none when a foreign container image has something else there."""
    try:
        found = json.loads(text)
    except ValueError:
        return set()
    return {one for one in found if isinstance(one, str)} if isinstance(found, list) else set()


def apply_newest(
    cluster: Cluster, manifests: Manifests, wanted: SiteDeployment, inventory: Inventory
) -> tuple[ApplyResult, ...]:
    """Apply the objects of the newest deployment; stop as soon as it is no longer the newest.

    The inventory is read before the function's Service is applied, and every second. When the inventory is written,
    before the first object and before any is removed, the API server detects a newer deployment.
    """
    name, checked_at = wanted.app.function.name, time.monotonic()

    def check(manifest: Object) -> None:
        nonlocal checked_at
        if kind_of(manifest) is KSERVICE or time.monotonic() - checked_at > CHECK_S:
            inventory.require_newest(cluster, before="the rest was applied")
            checked_at = time.monotonic()

    rollout.fix_traffic(cluster, name, adopt=wanted.adopt)
    applied = apply_app(cluster, manifests, wanted.owner, inventory=inventory, adopt=wanted.adopt, check=check)
    rendered = {name_of(one) for one in manifests if is_pin(one)}
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
    site: SiteSettings,
    newest: Inventory,
    notify: Callable[[str], object] = lambda text: None,
    poll_s: float = POLL_S,
) -> rollout.RolloutOutcome:
    """Advance a rollout until it ends; while the cluster can't be reached, wait for it.

    Args:
        site: The site.
        newest: Inventory with the deployment whose rollout is followed.
        notify: Function that gets a line whenever the rollout's state changes.
        poll_s: Seconds between two steps.
    """
    reported, heard = "", time.monotonic()
    while True:
        outcome: rollout.RolloutOutcome | None = None
        try:
            newest.require_newest(cluster, before="its rollout ended")
            outcome = rollout.advance_rollout(cluster, name)
            text, heard = describe_outcome(outcome, site), time.monotonic()
        except UnreachableClusterError as error:
            if time.monotonic() - heard > MAX_SILENCE_S:
                raise
            text = error.message
        if text != reported:
            notify(text)
            reported = text
        if outcome is not None and not outcome.advancing:
            break
        time.sleep(poll_s)
    if outcome.state is None or outcome.state.phase is not RolloutPhase.DONE:
        raise StartError(f"{name} was not promoted: {text}", hint=f"eaves rollout {name} --on knative")
    return outcome


def describe_outcome(outcome: rollout.RolloutOutcome, site: SiteSettings) -> str:
    """Describe a rollout at a site in one line, with what to do about images that a replaced revision refused."""
    shares, state = ", ".join(f"{revision} {percent} %" for revision, percent in outcome.shares.items()), outcome.state
    phase = state.phase.value if state is not None else "no rollout"
    reason = "" if outcome.reason == phase else outcome.reason
    text = ": ".join(part for part in (shares, phase, reason) if part)
    for revision in outcome.stopped:
        text += (
            f"; what {revision} refused: eaves queue retry --dead --reason '{revision_mark(revision)}' {site.options}"
        )
    return text


Build = Callable[[FunctionImage], SiteDeployment]
Agreed = Callable[[DeploymentRecord], object]


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
    memory: WorkspaceMemory = field(default_factory=WorkspaceMemory)

    def newer_than(self, last: DeploymentRecord | None) -> FunctionImage | None:
        """Return the container image to deploy instead of the last deployment's; None if there is no other."""
        pending = self.memory.pending
        current = not self.declared or self.memory.pending_declared == self.declared
        wanted = pending if pending is not None and current else None
        if wanted is None and (last is None or (self.declared and self.declared != last.declared)):
            wanted = self.image
        return None if wanted is None or (last is not None and wanted.name == last.image) else wanted


class ReconcileDecision(NamedTuple):
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
            return ReconcileDecision(last.function_image)
        if memory.known == last.mark:
            return ReconcileDecision(wanted, is_new=True)
        text = f"{last.describe()}; that deployment is kept, because {wanted.name} in this workspace may be older"
        reason = f"{text} (try: {take_over(wanted.name, wish.site)})"
        return ReconcileDecision(last.function_image, reason=reason)
    if wanted is None:
        text = "this workspace has deployed nothing to this site, and eaves.yaml names no container image"
        return ReconcileDecision(reason=f"{text} (try: {take_over('IMAGE', wish.site)})")
    if serving == wanted.name or (not memory.known and (not serving or memory.pending is not None)):
        return ReconcileDecision(wanted, is_new=True)
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
    inventory, replaced = take_number(cluster, app, wanted.record(manifests), seen=inventory)
    if inventory.deployment is not None:
        agreed(inventory.deployment)
    changed = compare_classes(replaced.classes, wanted.app.classes) if replaced is not None else ""
    return _apply(cluster, wanted, manifests, inventory, reason or changed)


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
        name = name_of(service)
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
