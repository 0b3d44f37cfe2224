"""An app's inventory in the cluster: a ConfigMap that lists its objects by UID and records its last deployment.

`deploy` writes the inventory; it is never rendered. Pruning and removal delete only objects that it lists, because any
user can set a label, but the API server gives each UID only once.

Source: sigs.k8s.io/cli-utils, pkg/inventory (a ConfigMap that lists the objects of a deploy); Kubernetes, server-side
apply (metadata.resourceVersion in an applied object).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from eaves.errors import ConflictError, InvalidError, UnreachableClusterError
from knative.client.kinds import CONFIG_MAP, SERVICE, ObjectKind
from knative.resources.metadata import APP_LABEL, MANAGED_LABEL, MANAGED_VALUE, MANAGER, PART_LABEL

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

PART = "inventory"
DATA_KEY = "inventory.json"
LAYOUT = 1
"""Version of the JSON document in which an inventory is stored. A document of another version is refused, so that none
of its content is lost."""
CREATOR = "eaves-inventory"
"""Field manager that creates the empty ConfigMap of an inventory.

It differs from `eaves`, because applying an empty ConfigMap as `eaves` would empty a ConfigMap that has content.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryItem:
    """One object of an app.

    Attributes:
        kind: Kind of the object as `item_kind` names it: `DaemonSet`, `Service` for Knative's, `v1/Service` for
            Kubernetes' own.
        name: Name of the object.
        namespace: Namespace of the object; empty for an object of the whole cluster.
        uid: UID that the API server gave it; empty before the object was applied.
    """

    kind: str
    name: str
    namespace: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentRecord:
    """The last deployment of an app.

    Attributes:
        sequence: Number of the deployment; each deploy counts it up by one.
        at: Unix time in seconds, by the API server's clock.
        by: User who deployed, `USER@HOST`.
        image: Container image, by digest.
        artifact: Digest of the artifact, hexadecimal.
        declared: Container image as eaves.yaml named it.
        settings: JSON of the other values that are needed to repeat the deployment.
    """

    sequence: int
    at: float
    by: str
    image: str
    artifact: str
    declared: str
    settings: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """The record of an app's objects in a cluster.

    Attributes:
        app: Name of the app.
        items: The app's objects, sorted by namespace, kind and name.
        deployment: Last deployment of the app; None when no deploy recorded one.
        version: resourceVersion of the ConfigMap; empty when the ConfigMap doesn't exist yet.
        uid: UID of the ConfigMap; empty when the ConfigMap doesn't exist yet.
    """

    app: str
    items: tuple[InventoryItem, ...] = ()
    deployment: DeploymentRecord | None = None
    version: str = ""
    uid: str = ""


def item_kind(kind: ObjectKind) -> str:
    """Return the name of a kind as an inventory stores it.

    It is `v1/Service` for the Service of Kubernetes, since Knative has a Service too.
    """
    return f"{SERVICE.api_version}/{SERVICE.kind}" if kind is SERVICE else kind.kind


def inventory_name(app: str) -> str:
    """Return the name of the ConfigMap that holds an app's inventory."""
    return f"eaves-inventory-{app}"


def read_inventory(cluster: Cluster, app: str) -> Inventory:
    """Read the inventory of an app from the cluster's namespace; it is empty when the app has none.

    Raises:
        ConflictError: When a ConfigMap of that name is not an inventory of this app.
        InvalidError: When the inventory is damaged, or was written by a newer version of Eaves.
        ClusterError: When a request to the cluster is refused or fails.
    """
    found = cluster.get(CONFIG_MAP, inventory_name(app))
    return Inventory(app=app) if found is None else _parse(found, cluster, app)


def list_inventories(cluster: Cluster) -> dict[str, Inventory | None]:
    """Read the inventories of all apps in the cluster's namespace; None stands for an inventory that can't be read.

    An app that isn't among them was not deployed by `eaves deploy`: kubectl or a GitOps controller applied its objects,
    or a version of Eaves that kept no inventory.

    Raises:
        DeniedError: When the current user may not list ConfigMaps.
        ClusterError: When the ConfigMaps can't be listed.
    """
    found: dict[str, Inventory | None] = {}
    for one in cluster.list(CONFIG_MAP, selector=f"{MANAGED_LABEL}={MANAGED_VALUE},{PART_LABEL}={PART}"):
        app = str(one["metadata"]["labels"].get(APP_LABEL, ""))
        if one["metadata"]["name"] != inventory_name(app):
            continue
        try:
            found[app] = _parse(one, cluster, app)
        except InvalidError:
            found[app] = None
    return found


def write_inventory(cluster: Cluster, inventory: Inventory) -> Inventory:
    """Store an inventory, provided that it is unchanged since it was read.

    When the process is killed, either the old or the new inventory is stored. The request names the ConfigMap's UID, so
    a removed inventory is not created again; with a resourceVersion alone, the API server would create it.

    Returns:
        The inventory with its new `version`.

    Raises:
        ConflictError: When the inventory has changed since it was read.
        ClusterError: When the inventory can't be written.
    """
    version, uid = (inventory.version, inventory.uid) if inventory.version else _create(cluster, inventory.app)
    manifest = _manifest(inventory.app)
    manifest["metadata"] |= {"resourceVersion": version, "uid": uid}
    manifest["data"] = {DATA_KEY: _encode(inventory)}
    try:
        written = cluster.apply(manifest, manager=MANAGER, force=True)
    except (ConflictError, UnreachableClusterError) as error:
        # The answer to a write may be lost; then the write, or its repetition, seems to have failed.
        stored = cluster.get(CONFIG_MAP, inventory_name(inventory.app))
        if stored is None or stored.get("data") != manifest["data"]:
            raise (_changed(cluster, inventory.app) if isinstance(error, ConflictError) else error) from error
        written = stored
    return replace(inventory, version=str(written["metadata"]["resourceVersion"]), uid=str(written["metadata"]["uid"]))


def _create(cluster: Cluster, app: str) -> tuple[str, str]:
    """Create the empty ConfigMap of an inventory; return its resourceVersion and UID.

    When two processes create it at the same time, one of them writes the inventory, and the other one gets a
    ConflictError.
    """
    made = cluster.apply(_manifest(app), manager=CREATOR)
    if made.get("data"):
        raise _changed(cluster, app)
    return str(made["metadata"]["resourceVersion"]), str(made["metadata"]["uid"])


def _manifest(app: str) -> dict[str, Any]:
    labels = {MANAGED_LABEL: MANAGED_VALUE, PART_LABEL: PART, APP_LABEL: app}
    metadata = {"name": inventory_name(app), "labels": labels}
    return {"apiVersion": CONFIG_MAP.api_version, "kind": CONFIG_MAP.kind, "metadata": metadata}


def _encode(inventory: Inventory) -> str:
    items = sorted(inventory.items, key=lambda item: (item.namespace, item.kind, item.name))
    document = {
        "layout": LAYOUT,
        "app": inventory.app,
        "items": [asdict(item) for item in items],
        "deployment": None if inventory.deployment is None else asdict(inventory.deployment),
    }
    return json.dumps(document, sort_keys=True, indent=1)


def _parse(found: Mapping[str, Any], cluster: Cluster, app: str) -> Inventory:
    metadata, name = found["metadata"], inventory_name(app)
    labels = metadata.get("labels") or {}
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
        layout = document["layout"]
        if layout == LAYOUT:
            items = tuple(InventoryItem(**_checked(InventoryItem, one)) for one in document["items"])
            deployed = document["deployment"]
            deployment = None if deployed is None else DeploymentRecord(**_checked(DeploymentRecord, deployed))
            return Inventory(app=app, items=items, deployment=deployment, version=version, uid=uid)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        delete = f"kubectl --context {cluster.name} -n {cluster.namespace} delete configmap {name}"
        raise InvalidError(
            f"{cluster.name}: the inventory of {app} (ConfigMap {name} in {cluster.namespace}) is damaged: {error}",
            hint=f"{delete}; then `eaves deploy IMAGE --on knative --adopt` writes it again",
        ) from error
    raise InvalidError(
        f"{cluster.name}: the inventory of {app} has the layout {layout}, and this version of Eaves supports only "
        f"{LAYOUT}",
        hint="use the version of Eaves that deployed the app",
    )


_WORDS: dict[type, str] = {InventoryItem: "item", DeploymentRecord: "deployment"}
"""Names of the two kinds of records, for messages."""


def _checked(kind: type[InventoryItem | DeploymentRecord], value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a record from an inventory, after checking their names and types."""
    known: dict[str, type | tuple[type, ...]] = {"sequence": int, "at": (int, float)}
    names = {field.name for field in fields(kind)}
    if set(value) != names:
        raise ValueError(f"the {_WORDS[kind]} has the fields {sorted(value)} instead of {sorted(names)}")
    for name, one in value.items():
        if not isinstance(one, known.get(name, str)) or isinstance(one, bool):
            raise TypeError(f"{name} has a value of the wrong type ({one!r})")
    return dict(value)


def _changed(cluster: Cluster, app: str) -> ConflictError:
    return ConflictError(
        f"{cluster.name}: the inventory of {app} has changed: another user is deploying or removing {app}",
        hint="wait until they have finished, then try again",
    )
