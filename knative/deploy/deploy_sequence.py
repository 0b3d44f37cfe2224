"""The sequence of an app's deploys: each takes the next number in the cluster before it applies an object.

The deploy with the newest number decides what the cluster runs. A deploy that finds a newer number than its own stops,
so of two deploys at the same time the later one wins and the earlier one ends with an error.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from eaves.errors import ConflictError, DeniedError, InvalidError
from knative.deploy.function_image import FunctionImage
from knative.deploy.objects.inventory import DeploymentRecord, Inventory, read_inventory, write_inventory

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

ATTEMPTS = 5
"""Number of attempts to take the next number while other processes change other parts of the inventory."""
Manifests = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentMark:
    """Identity of one deployment of an app.

    The time distinguishes deployments with the same number, since the sequence starts again after an app was removed.

    Attributes:
        sequence: Number of the deployment.
        at: Unix time in seconds, by the site's clock. It is compared for equality only.
    """

    sequence: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployIntent:
    """A deployment that is about to be recorded in the inventory.

    Attributes:
        by: User who deploys, `USER@HOST`.
        site: Name of the site, for commands in error messages.
        image: Container image of the function.
        declared: Container image as eaves.yaml names it; empty when it names none.
        rendered: Digest of the rendered objects, by `digest_manifests`.
    """

    by: str
    site: str
    image: FunctionImage
    declared: str
    rendered: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentHold:
    """The deployment that a running command works on, to detect a newer one by another user.

    Attributes:
        app: Name of the app.
        site: Name of the site, for commands in error messages.
        deployment: Record of the deployment.
        replaced: The previous newest deployment; None when there was none, or when the command recorded no deployment.
        inventory: The inventory at the time when this deployment was recorded or found; None means that it must be
            read.
    """

    app: str
    site: str
    deployment: DeploymentRecord
    replaced: DeploymentRecord | None = None
    inventory: Inventory | None = None

    @property
    def note(self) -> str:
        """Text that names the replaced deployment, if another user made that deployment.

        The text is empty when the same user deployed before, or the same container image was deployed.
        """
        last = self.replaced
        if last is None or last.by == self.deployment.by or last.image == self.deployment.image:
            return ""
        return f"{describe_deployment(last)}; this deploy replaces it"

    def require_newest(self, cluster: Cluster, *, before: str) -> Inventory:
        """Raise an error when another user deployed or removed the app since this deployment was recorded.

        Args:
            cluster: Connection to the site's cluster.
            before: The next action, for the error's message, such as `its rollout began`.

        Returns:
            The inventory, which lists this deployment as the newest.

        Raises:
            ConflictError: When this deployment is no longer the newest; the message names who deployed what, and when.
            ClusterError: When a request to the cluster is refused or fails.
        """
        inventory = read_inventory(cluster, self.app)
        last = inventory.deployment
        if last is None:
            raise ConflictError(
                f"{cluster.name}: {self.app} was removed by another user during this deploy, which stopped before "
                f"{before}",
                hint=f"{take_over(self.deployment.image, self.site)}   # to deploy it again",
            )
        if mark_of(last) != mark_of(self.deployment):
            raise ConflictError(
                f"{cluster.name}: {describe_deployment(last)}, during this deploy; the later deploy takes "
                f"precedence, and this one stopped before {before}",
                hint=f"{take_over(self.deployment.image, self.site)}   # to replace that deploy after it has finished",
            )
        return inventory

    def require_unchanged(self, cluster: Cluster) -> None:
        """Raise an error when the deployment that is to be promoted is no longer the newest.

        Raises:
            ConflictError: When another user deployed or removed the app since; the message names who deployed what, and
                when.
            ClusterError: When a request to the cluster is refused or fails.
        """
        last = read_inventory(cluster, self.app).deployment
        if last is None or mark_of(last) != mark_of(self.deployment):
            reason = "another user removed it" if last is None else describe_deployment(last)
            raise ConflictError(
                f"{cluster.name}: {reason}, while the promotion of {self.app} was waiting; nothing was promoted",
                hint=f"eaves promote {self.app} --site {self.site}   # to promote the newest deployment",
            )


def read_hold(cluster: Cluster, app: str, *, site: str) -> DeploymentHold | None:
    """Read the newest deployment of an app, for a command that changes only traffic.

    Args:
        cluster: Connection to the site's cluster.
        app: Name of the app.
        site: Name of the site.

    Returns:
        The deployment; None when there is none, or when this user may not read ConfigMaps, since traffic can be changed
        without that right.

    Raises:
        ClusterError: When a request to the cluster is refused or fails.
    """
    try:
        last = read_inventory(cluster, app).deployment
    except DeniedError:
        return None
    return None if last is None else DeploymentHold(app=app, site=site, deployment=last)


def take_over(image: str, site: str) -> str:
    """Return the command `eaves deploy` that deploys a container image to a site."""
    return f"eaves deploy {image} --site {site}"


def mark_of(deployment: DeploymentRecord) -> DeploymentMark:
    """Return the identity of a deployment: its number and its time.

    Together they differ from those of any other deployment of the app.
    """
    return DeploymentMark(sequence=deployment.sequence, at=deployment.at)


def digest_manifests(manifests: Manifests) -> str:
    """Return the sha256 of rendered objects in hexadecimal; equal objects give the same digest for every user."""
    return hashlib.sha256(json.dumps(list(manifests), sort_keys=True).encode()).hexdigest()


def describe_deployment(deployment: DeploymentRecord) -> str:
    """Return a sentence (without full stop) that says who deployed what, and when."""
    what = f"deployed {deployment.image}" if deployment.image else "started to remove the function"
    return f"{deployment.by} {what} at {format_time(deployment.at)} (the site's clock)"


def format_time(at: float) -> str:
    """Format a Unix time in seconds for people, such as `2026-11-26 03:12:45 UTC`."""
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{at:.0f} s after 1970-01-01"


def take_number(cluster: Cluster, app: str, intent: DeployIntent, *, seen: Inventory | None = None) -> DeploymentHold:
    """Record a deployment as the newest one, before any of its objects is applied.

    When the deploy is killed after this, `eaves reconcile` applies the recorded deployment.

    Args:
        cluster: Connection to the site's cluster.
        app: Name of the app.
        intent: The deployment to record.
        seen: The inventory that the decision to deploy was based on; None replaces whatever deployment is recorded.

    Raises:
        ConflictError: When another user deployed at the same time, or since `seen` was read; then nothing is recorded.
        ClusterError: When a request to the cluster is refused or fails.
    """
    inventory = read_inventory(cluster, app) if seen is None else seen
    before = _mark(inventory)
    for _ in range(ATTEMPTS):
        deployment = _next(inventory.deployment, intent, at=cluster.clock())
        try:
            written = write_inventory(cluster, replace(inventory, deployment=deployment))
        except ConflictError:  # caused by another deploy, or by a change of another part of the inventory
            inventory = read_inventory(cluster, app)
            if _mark(inventory) != before:
                break
            continue
        replaced = inventory.deployment
        return DeploymentHold(app=app, site=intent.site, deployment=deployment, replaced=replaced, inventory=written)
    raise _lost(cluster, app, intent, inventory)


def note_removal(cluster: Cluster, app: str, by: str) -> None:
    """Record that an app is being removed, so that neither a deploy in progress nor `reconcile` applies objects again.

    Nothing is recorded for an app without a record of a deployment.

    Args:
        cluster: Connection to the site's cluster.
        app: Name of the app.
        by: User who removes the app, `USER@HOST`.

    Raises:
        ConflictError: When another user deploys at the same time.
        ClusterError: When a request to the cluster is refused or fails.
    """
    inventory = read_inventory(cluster, app)
    if inventory.deployment is not None and inventory.deployment.image:
        nothing = DeployIntent(by=by, site="", image=FunctionImage(name=""), declared="", rendered="")
        take_number(cluster, app, nothing, seen=inventory)


def _next(last: DeploymentRecord | None, intent: DeployIntent, *, at: float) -> DeploymentRecord:
    settings = {"task": intent.image.task, "rendered": intent.rendered}
    return DeploymentRecord(
        sequence=(last.sequence if last is not None else 0) + 1,
        at=at,
        by=intent.by,
        image=intent.image.name,
        artifact=intent.image.artifact_digest,
        declared=intent.declared,
        settings=json.dumps(settings, sort_keys=True),
    )


def _mark(inventory: Inventory) -> DeploymentMark | None:
    return None if inventory.deployment is None else mark_of(inventory.deployment)


def _lost(cluster: Cluster, app: str, intent: DeployIntent, inventory: Inventory) -> ConflictError:
    if inventory.deployment is None:
        return ConflictError(
            f"{cluster.name}: another user is deploying or removing {app}; nothing was applied",
            hint=f"{take_over(intent.image.name, intent.site)}   # after they have finished",
        )
    return ConflictError(
        f"{cluster.name}: {describe_deployment(inventory.deployment)}, at the same time as this deploy, of which "
        "nothing was applied",
        hint=f"{take_over(intent.image.name, intent.site)}   # to replace that deploy after it has finished",
    )


def image_of(deployment: DeploymentRecord) -> FunctionImage:
    """Return the container image of a recorded deployment, so that the same can be deployed again.

    Raises:
        InvalidError: When the record is damaged.
    """
    settings = _settings(deployment)
    known = {"task": str(settings["task"])} if "task" in settings else {}
    return FunctionImage(name=deployment.image, artifact_digest=deployment.artifact, **known)


def is_rendered_alike(deployment: DeploymentRecord, manifests: Manifests) -> bool:
    """Return whether the objects of a recorded deployment are equal to the given objects.

    Raises:
        InvalidError: When the record is damaged.
    """
    return _settings(deployment).get("rendered") == digest_manifests(manifests)


def _settings(deployment: DeploymentRecord) -> dict[str, Any]:
    try:
        settings = json.loads(deployment.settings)
    except ValueError as error:
        raise InvalidError(
            f"the record of deployment {deployment.sequence} is damaged: {error}",
            hint="eaves deploy IMAGE --on knative   # writes the record again",
        ) from error
    return settings if isinstance(settings, dict) else {}
