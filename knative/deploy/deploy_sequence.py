"""Who deployed what last: each deploy takes the next number of a sequence in the cluster before it applies anything.

Whoever took the newest number is who the cluster listens to. A deploy that finds a newer number than its own stops, so
of two at once the later one wins and the earlier one is told.
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
"""Of taking the next number while others write other parts of the inventory."""
Manifests = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentMark:
    """Which deployment of a site is meant.

    The time tells deployments apart that have the same number, as the sequence begins again once an app was removed.

    Attributes:
        sequence: Number of the deployment.
        at: Unix time in seconds, by the site's clock. It is compared for equality only.
    """

    sequence: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployIntent:
    """A deployment that is to be recorded.

    Attributes:
        by: Who deploys, `USER@HOST`.
        site: Name of the site, for commands that messages propose.
        image: Container image.
        declared: Container image as eaves.yaml names it; empty when it names none.
        rendered: Digest of the objects, by `digest_manifests`.
    """

    by: str
    site: str
    image: FunctionImage
    declared: str
    rendered: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentHold:
    """The deployment that a command acts for.

    Attributes:
        app: Name of the app.
        site: Name of the site, for commands that messages propose.
        deployment: The deployment.
        replaced: The one that was the newest before it; None when there was none, or the command made none.
        inventory: The inventory as it was when this deployment was recorded or found; None: it is to be read.
    """

    app: str
    site: str
    deployment: DeploymentRecord
    replaced: DeploymentRecord | None = None
    inventory: Inventory | None = None

    @property
    def note(self) -> str:
        """What whoever deploys should know: whose deployment is replaced; empty when it was their own, or the same."""
        last = self.replaced
        if last is None or last.by == self.deployment.by or last.image == self.deployment.image:
            return ""
        return f"{describe_deployment(last)}; this deploy replaces it"

    def require_newest(self, cluster: Cluster, *, before: str) -> Inventory:
        """Stop when somebody deployed or removed the app since.

        Args:
            cluster: Connection to the site's cluster.
            before: What would be done next, `its rollout began`.

        Returns:
            The inventory, which says that this deployment is the newest.

        Raises:
            ConflictError: When this deployment is no longer the newest; it says who deployed what, and when.
            ClusterError: When the cluster can't be asked.
        """
        inventory = read_inventory(cluster, self.app)
        last = inventory.deployment
        if last is None:
            raise ConflictError(
                f"{cluster.name}: somebody removed {self.app} while it was deployed; this deploy stopped before "
                f"{before}",
                hint=f"{take_over(self.deployment.image, self.site)}   # to have it again",
            )
        if mark_of(last) != mark_of(self.deployment):
            raise ConflictError(
                f"{cluster.name}: {describe_deployment(last)}, while this deploy was under way: the later one wins, "
                f"and this one stopped before {before}",
                hint=f"{take_over(self.deployment.image, self.site)}   # to take over, once they are done",
            )
        return inventory

    def require_unchanged(self, cluster: Cluster) -> None:
        """Stop a promotion when what it would promote is no longer what it was asked for.

        Raises:
            ConflictError: When somebody deployed or removed the app since; it says who deployed what, and when.
            ClusterError: When the cluster can't be asked.
        """
        last = read_inventory(cluster, self.app).deployment
        if last is None or mark_of(last) != mark_of(self.deployment):
            told = "somebody removed it" if last is None else describe_deployment(last)
            raise ConflictError(
                f"{cluster.name}: {told}, while the promotion of {self.app} waited; nothing was promoted",
                hint=f"eaves promote {self.app} --site {self.site}   # for what is the newest now",
            )


def read_hold(cluster: Cluster, app: str, *, site: str) -> DeploymentHold | None:
    """The newest deployment of an app, for a command that changes shares of requests only.

    Args:
        cluster: Connection to the site's cluster.
        app: Name of the app.
        site: Name of the site.

    Returns:
        None when there is none, or when this user may not read ConfigMaps: shares can be changed without that right.

    Raises:
        ClusterError: When the cluster can't be asked.
    """
    try:
        last = read_inventory(cluster, app).deployment
    except DeniedError:
        return None
    return None if last is None else DeploymentHold(app=app, site=site, deployment=last)


def take_over(image: str, site: str) -> str:
    """The command that makes a container image the newest deployment of a site."""
    return f"eaves deploy {image} --site {site}"


def mark_of(deployment: DeploymentRecord) -> DeploymentMark:
    """What tells a deployment from every other of its app."""
    return DeploymentMark(sequence=deployment.sequence, at=deployment.at)


def digest_manifests(manifests: Manifests) -> str:
    """sha256 of rendered objects, hexadecimal; equal for everybody who would apply the same."""
    return hashlib.sha256(json.dumps(list(manifests), sort_keys=True).encode()).hexdigest()


def describe_deployment(deployment: DeploymentRecord) -> str:
    """Who deployed what, and when: a sentence without its full stop."""
    what = f"deployed {deployment.image}" if deployment.image else "began to remove the function"
    return f"{deployment.by} {what} at {format_time(deployment.at)} by the site's clock"


def format_time(at: float) -> str:
    """A Unix time for people, `2026-11-26 03:12:45 UTC`."""
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{at:.0f} s after 1970"


def take_number(cluster: Cluster, app: str, intent: DeployIntent, *, seen: Inventory | None = None) -> DeploymentHold:
    """Record a deployment as the newest one, before anything of it is applied.

    Killed after this, the deployment is what the cluster wants, and `eaves reconcile` applies it.

    Args:
        cluster: Connection to the site's cluster.
        app: Name of the app.
        intent: What is to be deployed.
        seen: The inventory by which this was decided; None: whatever is there is replaced.

    Raises:
        ConflictError: When somebody else deployed in this moment, or since `seen`; nothing is recorded then.
        ClusterError: When the cluster refuses or fails.
    """
    inventory = read_inventory(cluster, app) if seen is None else seen
    before = _mark(inventory)
    for _ in range(ATTEMPTS):
        deployment = _next(inventory.deployment, intent, at=cluster.clock())
        try:
            written = write_inventory(cluster, replace(inventory, deployment=deployment))
        except ConflictError:  # by another deploy, or by a change of another part of the inventory
            inventory = read_inventory(cluster, app)
            if _mark(inventory) != before:
                break
            continue
        replaced = inventory.deployment
        return DeploymentHold(app=app, site=intent.site, deployment=deployment, replaced=replaced, inventory=written)
    raise _lost(cluster, app, intent, inventory)


def note_removal(cluster: Cluster, app: str, by: str) -> None:
    """Record that an app is being removed, so that neither a deploy under way nor `reconcile` brings objects back.

    An app without a record gets none.

    Args:
        cluster: Connection to the site's cluster.
        app: Name of the app.
        by: Who removes it, `USER@HOST`.

    Raises:
        ConflictError: When somebody else deploys in this moment.
        ClusterError: When the cluster refuses or fails.
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
            f"{cluster.name}: somebody else deploys or removes {app} at this moment; nothing was applied",
            hint=f"{take_over(intent.image.name, intent.site)}   # once they are done",
        )
    return ConflictError(
        f"{cluster.name}: {describe_deployment(inventory.deployment)}, at the same moment; nothing of this deploy was "
        "applied",
        hint=f"{take_over(intent.image.name, intent.site)}   # to take over, once they are done",
    )


def image_of(deployment: DeploymentRecord) -> FunctionImage:
    """The container image of a deployment, as it is deployed again.

    Raises:
        InvalidError: When the record is damaged.
    """
    settings = _settings(deployment)
    known = {"task": str(settings["task"])} if "task" in settings else {}
    return FunctionImage(name=deployment.image, artifact_digest=deployment.artifact, **known)


def is_rendered_alike(deployment: DeploymentRecord, manifests: Manifests) -> bool:
    """Whether a deployment applied just these objects.

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
            hint="eaves deploy IMAGE --on knative   # writes it again",
        ) from error
    return settings if isinstance(settings, dict) else {}
