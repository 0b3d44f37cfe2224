"""An app's inventory in the cluster: a ConfigMap that lists its objects by UID, and the number of its last deploy.

`deploy` writes the inventory; it is never rendered. Pruning and removal delete only objects that it lists, because any
user can set a label, but the API server gives each UID only once; `--adopt` adds objects with the app's labels to it.

Each deploy takes the next number before it applies an object. The newest one decides what the cluster runs: a deploy
that finds a newer number than its own stops, so of two at the same time the later one wins and the earlier one ends
with an error. The ConfigMap's resourceVersion is the only lock.

Source: sigs.k8s.io/cli-utils, pkg/inventory (a ConfigMap that lists the objects of a deploy); Kubernetes, server-side
apply (metadata.resourceVersion in an applied object).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from eaves.artifact.manifest import CLASSIFY
from eaves.errors import ConflictError, DeniedError, InvalidError
from knative.client.kinds import CONFIG_MAP, SERVICE, Manifest, Object, ObjectKind
from knative.resources.metadata import APP_LABEL, MANAGED_LABEL, MANAGED_VALUE, MANAGER, PART_LABEL, labels_of

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

PART = "inventory"
DATA_KEY = "inventory.json"
CREATOR = "eaves-inventory"
"""Field manager that creates the empty ConfigMap of an inventory.

It differs from `eaves`, because applying an empty ConfigMap as `eaves` would empty a ConfigMap that has content.
"""
ATTEMPTS = 5
"""Number of attempts to change the inventory while other commands of the same deployment change it."""
Manifests = Sequence[Object]


class ObjectKey(NamedTuple):
    """Identity of an object: kind as `item_kind` names it, namespace (empty for the whole cluster), name."""

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionImage:
    """The container image that a cluster runs for a function.

    Attributes:
        name: Name by digest, `REPOSITORY@sha256:...`.
        artifact_digest: sha256 of the artifact's manifest in hexadecimal; empty when the registry wasn't asked.
        task: Task of the artifact: classify, embed or tensor.
        classes: Labels that the model predicts, as a JSON list; empty when they aren't known.
    """

    name: str
    artifact_digest: str = ""
    task: str = CLASSIFY
    classes: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentRecord:
    """The last deployment of an app.

    Attributes:
        sequence: Number of the deployment; each deploy counts it up by one, and 0 has no number yet.
        at: Unix time in seconds, by the API server's clock.
        by: User who deployed, `USER@HOST`.
        site: Name of the site, for commands in messages.
        image: Container image, by digest; empty for a removal that has begun.
        artifact: Digest of the artifact, hexadecimal.
        task: Task of the artifact.
        classes: Labels that the model predicts, as a JSON list; empty when they aren't known.
        declared: Container image as eaves.yaml named it.
        rendered: Digest of the rendered objects, by `digest_manifests`.
    """

    sequence: int = 0
    at: float = 0.0
    by: str
    site: str
    image: str
    artifact: str = ""
    task: str = CLASSIFY
    classes: str = ""
    declared: str = ""
    rendered: str = ""

    @property
    def mark(self) -> str:
        """The identity of the deployment. The numbers begin again after an app was removed, so it has the time too."""
        return f"{self.sequence} at {self.at}"

    @property
    def function_image(self) -> FunctionImage:
        """The container image, so that the same can be deployed again."""
        return FunctionImage(name=self.image, artifact_digest=self.artifact, task=self.task, classes=self.classes)

    def describe(self) -> str:
        """Return a sentence (without full stop) that says who deployed what, and when."""
        what = f"deployed {self.image}" if self.image else "started to remove the function"
        return f"{self.by} {what} at {format_time(self.at)} (the site's clock)"


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
class Inventory:
    """The record of an app's objects in a cluster.

    Attributes:
        app: Name of the app.
        items: UIDs of the app's objects, as the API server gave them; empty before an object was applied.
        deployment: Last deployment of the app; None when no deploy recorded one.
        version: resourceVersion of the ConfigMap; empty when the ConfigMap doesn't exist yet.
        uid: UID of the ConfigMap; empty when the ConfigMap doesn't exist yet.
    """

    app: str
    items: dict[ObjectKey, str] = field(default_factory=dict)
    deployment: DeploymentRecord | None = None
    version: str = ""
    uid: str = ""

    def require_newest(self, cluster: Cluster, *, before: str) -> Inventory:
        """Raise an error when another user deployed or removed the app since this inventory's deployment was recorded.

        Args:
            before: The next action, for the error's message, such as `its rollout began`.

        Returns:
            The inventory as it is now.
        """
        found = read_inventory(cluster, self.app)
        if found.deployment != self.deployment:
            raise _overtaken(cluster, self.app, self.deployment, found.deployment, before)
        return found


def item_kind(kind: ObjectKind) -> str:
    """Return the name of a kind as an inventory stores it: `v1/Service` for Kubernetes' own, since Knative has one."""
    return f"{SERVICE.api_version}/{SERVICE.kind}" if kind is SERVICE else kind.kind


def inventory_name(app: str) -> str:
    """Return the name of the ConfigMap that holds an app's inventory."""
    return f"eaves-inventory-{app}"


def digest_manifests(manifests: Manifests) -> str:
    """Return the sha256 of rendered objects in hexadecimal; equal objects give the same digest for every user."""
    return hashlib.sha256(json.dumps(list(manifests), sort_keys=True).encode()).hexdigest()


def format_time(at: float) -> str:
    """Format a Unix time in seconds for people, such as `2026-11-26 03:12:45 UTC`."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def take_over(image: str, site: str) -> str:
    """Return the command `eaves deploy` that deploys a container image to a site."""
    return f"eaves deploy {image} --site {site}"


def read_inventory(cluster: Cluster, app: str) -> Inventory:
    """Read the inventory of an app from the cluster's namespace; it is empty when the app has none."""
    found = cluster.get(CONFIG_MAP, inventory_name(app))
    return Inventory(app=app) if found is None else _parse(found, cluster, app)


def read_deployment(cluster: Cluster, app: str) -> DeploymentRecord | None:
    """Read the last deployment of an app, for a command that changes only traffic.

    None also means that the user may not read ConfigMaps, since traffic can be changed without that right.
    """
    try:
        return read_inventory(cluster, app).deployment
    except DeniedError:
        return None


def take_number(
    cluster: Cluster, app: str, deployment: DeploymentRecord, *, seen: Inventory | None = None
) -> tuple[Inventory, DeploymentRecord | None]:
    """Record a deployment as the newest one, before any of its objects is applied.

    When the deploy is killed after this, `eaves reconcile` applies the recorded deployment.

    Args:
        deployment: The deployment to record, without number and time.
        seen: The inventory that the decision to deploy was based on; None replaces whatever deployment is recorded.

    Returns:
        The inventory with the recorded deployment, and the deployment that it replaced.
    """
    inventory = read_inventory(cluster, app) if seen is None else seen
    number = (inventory.deployment.sequence if inventory.deployment is not None else 0) + 1
    numbered = replace(deployment, sequence=number, at=cluster.clock())
    change = change_inventory(
        cluster, inventory, lambda one: replace(one, deployment=numbered), before="anything was applied", mine=numbered
    )
    return change, inventory.deployment


def note_removal(cluster: Cluster, app: str, by: str) -> None:
    """Record that an app is being removed, so that neither a deploy in progress nor `reconcile` applies objects again.

    Nothing is recorded for an app without a record of a deployment.
    """
    inventory = read_inventory(cluster, app)
    if inventory.deployment is not None and inventory.deployment.image:
        take_number(cluster, app, DeploymentRecord(by=by, site="", image=""), seen=inventory)


def change_inventory(
    cluster: Cluster,
    inventory: Inventory,
    change: Callable[[Inventory], Inventory],
    *,
    before: str,
    mine: DeploymentRecord | None = None,
) -> Inventory:
    """Write a changed inventory, even if it is equal: the API server then says whether another process has changed it.

    Other commands for the same deployment may change the list of objects at the same time, for example when a pin is
    removed during a deploy, or two processes reconcile. Their changes are kept.

    Args:
        inventory: The inventory as it was read or written last.
        change: Function that returns the new inventory, given the present one; it is called again when another process
            wrote first.
        before: The next action, for the error's message.
        mine: The deployment that the caller works on; None means that of `inventory`.
    """
    for _ in range(ATTEMPTS):
        try:
            return write_inventory(cluster, change(inventory))
        except ConflictError:
            last, inventory = inventory, read_inventory(cluster, inventory.app)
            if last.deployment is None and mine is None:
                raise
            if inventory.deployment != last.deployment:
                working = mine or last.deployment
                raise _overtaken(cluster, last.app, working, inventory.deployment, before) from None
    raise changed(cluster, inventory.app)


def write_inventory(cluster: Cluster, inventory: Inventory) -> Inventory:
    """Store an inventory, provided that it is unchanged since it was read.

    When the process is killed, either the old or the new inventory is stored. The request names the ConfigMap's UID, so
    a removed inventory is not created again; with a resourceVersion alone, the API server would create it.

    Returns:
        The inventory with its new `version`.
    """
    version, uid = (inventory.version, inventory.uid) if inventory.version else _create(cluster, inventory.app)
    manifest = _manifest(inventory.app)
    manifest["metadata"] |= {"resourceVersion": version, "uid": uid}
    document = {
        "app": inventory.app,
        "items": [{**key._asdict(), "uid": uid} for key, uid in sorted(inventory.items.items())],
        "deployment": inventory.deployment and asdict(inventory.deployment),
    }
    manifest["data"] = {DATA_KEY: json.dumps(document, sort_keys=True, indent=1)}
    try:
        written = cluster.apply(manifest, manager=MANAGER, force=True)
    except ConflictError as error:
        raise changed(cluster, inventory.app) from error
    return replace(inventory, version=str(written["metadata"]["resourceVersion"]), uid=str(written["metadata"]["uid"]))


def _create(cluster: Cluster, app: str) -> tuple[str, str]:
    """Create the empty ConfigMap of an inventory; return its resourceVersion and UID.

    When two processes create it at the same time, one of them writes the inventory, and the other one gets a
    ConflictError.
    """
    made = cluster.apply(_manifest(app), manager=CREATOR)
    if made.get("data"):
        raise changed(cluster, app)
    return str(made["metadata"]["resourceVersion"]), str(made["metadata"]["uid"])


def _manifest(app: str) -> Manifest:
    labels = {MANAGED_LABEL: MANAGED_VALUE, PART_LABEL: PART, APP_LABEL: app}
    metadata = {"name": inventory_name(app), "labels": labels}
    return {"apiVersion": CONFIG_MAP.api_version, "kind": CONFIG_MAP.kind, "metadata": metadata}


def _parse(found: Object, cluster: Cluster, app: str) -> Inventory:
    metadata, name = found["metadata"], inventory_name(app)
    labels = labels_of(found)
    if labels.get(PART_LABEL) != PART or labels.get(APP_LABEL) != app:
        raise ConflictError(
            f"{cluster.name}: the labels of ConfigMap {name} in {cluster.namespace} are not those of an inventory",
            hint=f"rename that ConfigMap: Eaves stores the list of the objects of {app} under this name",
        )
    version, uid = str(metadata["resourceVersion"]), str(metadata["uid"])
    text = (found.get("data") or {}).get(DATA_KEY)
    if text is None:  # the process that made the ConfigMap was stopped before it wrote the inventory
        return Inventory(app=app, version=version, uid=uid)
    try:
        document = json.loads(text)
        items = {ObjectKey(one["kind"], one["namespace"], one["name"]): str(one["uid"]) for one in document["items"]}
        known = {one.name for one in fields(DeploymentRecord)}  # a newer Eaves may have written others, too
        record = document["deployment"]
        deployment = None
        if record:
            deployment = DeploymentRecord(**{name: value for name, value in record.items() if name in known})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        delete = f"kubectl --context {cluster.name} -n {cluster.namespace} delete configmap {name}"
        raise InvalidError(
            f"{cluster.name}: the inventory of {app} (ConfigMap {name} in {cluster.namespace}) is damaged: {error}",
            hint=f"{delete}; then `eaves deploy IMAGE --on knative --adopt` writes it again",
        ) from error
    return Inventory(app=app, items=items, deployment=deployment, version=version, uid=uid)


def _overtaken(
    cluster: Cluster, app: str, mine: DeploymentRecord | None, last: DeploymentRecord | None, before: str
) -> ConflictError:
    """Build the error for a command whose deployment another user has replaced or removed."""
    if mine is None or not mine.image:
        return ConflictError(
            f"{cluster.name}: another user deployed {app} while it was being removed",
            hint="eaves status --on knative   # shows what is deployed now",
        )
    who = f"{app} was removed by another user" if last is None else f"{last.describe()},"
    precedence = "which" if last is None else "the later deploy takes precedence, and this one"
    return ConflictError(
        f"{cluster.name}: {who} during this deploy; {precedence} stopped before {before}",
        hint=f"{take_over(mine.image, mine.site)}   # to replace that deploy after it has finished",
    )


def changed(cluster: Cluster, app: str) -> ConflictError:
    """Build the error for a command that found another one at work on the same app."""
    return ConflictError(
        f"{cluster.name}: the inventory of {app} has changed: another user is deploying or removing {app}",
        hint="wait until they have finished, then try again",
    )
