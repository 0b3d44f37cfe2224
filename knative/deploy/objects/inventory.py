"""An app's inventory in the cluster: a ConfigMap that lists its objects by UID and says what was deployed last.

It is written by `deploy` and never rendered. Prune and remove delete only what it lists: a label may be set by anybody,
a UID is given by the API server once.

Source: sigs.k8s.io/cli-utils, pkg/inventory (a ConfigMap that lists the objects of a deploy); Kubernetes,
server-side apply (metadata.resourceVersion in an applied object).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from eaves.errors import ConflictError, InvalidError, UnreachableClusterError
from knative.client.kinds import CONFIG_MAP, SERVICE, ObjectKind
from knative.resources.fields.labels import APP_LABEL, MANAGED_LABEL, MANAGED_VALUE, MANAGER, PART_LABEL

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

PART = "inventory"
DATA_KEY = "inventory.json"
LAYOUT = 1
"""Version of the JSON document. A document of another version is refused, so that nothing of it is lost."""
CREATOR = "eaves-inventory"
"""Field manager that makes the empty ConfigMap. It is not `eaves`, whose apply of an empty one empties a full one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryItem:
    """One object of an app.

    Attributes:
        kind: Kind of the object as `item_kind` names it: `DaemonSet`, `Service` for Knative's, `v1/Service` for
            Kubernetes' own.
        name: Name of the object.
        namespace: Namespace of the object; empty for an object of the whole cluster.
        uid: UID that the API server gave it; empty before it was applied.
    """

    kind: str
    name: str
    namespace: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentRecord:
    """The deployment that an app had last.

    Attributes:
        sequence: Number of the deployment; each deploy counts it up by one.
        at: Unix time in seconds, by the API server's clock.
        by: Who deployed, `USER@HOST`.
        image: Container image, by digest.
        artifact: Digest of the artifact, hexadecimal.
        declared: Container image as eaves.yaml named it.
        settings: JSON of what else is needed to deploy the same again.
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
    """What an app has in a cluster.

    Attributes:
        app: Name of the app.
        items: Its objects, by namespace, kind and name.
        deployment: Its last deployment; None when no deploy said one.
        version: resourceVersion of the ConfigMap; empty when it isn't there yet.
        uid: UID of the ConfigMap; empty when it isn't there yet.
    """

    app: str
    items: tuple[InventoryItem, ...] = ()
    deployment: DeploymentRecord | None = None
    version: str = ""
    uid: str = ""


def item_kind(kind: ObjectKind) -> str:
    """Name of a kind in an item: its own, but for the Service of Kubernetes, which shares its name with Knative's."""
    return f"{SERVICE.api_version}/{SERVICE.kind}" if kind is SERVICE else kind.kind


def inventory_name(app: str) -> str:
    """Name of the ConfigMap."""
    return f"eaves-inventory-{app}"


def read_inventory(cluster: Cluster, app: str) -> Inventory:
    """The inventory of an app in the cluster's namespace; an empty one when there is none.

    Raises:
        ConflictError: When a ConfigMap of that name belongs to somebody else.
        InvalidError: When the inventory is damaged, or was written by a newer version of Eaves.
        ClusterError: When it can't be read.
    """
    found = cluster.get(CONFIG_MAP, inventory_name(app))
    return Inventory(app=app) if found is None else _parse(found, cluster, app)


def list_inventories(cluster: Cluster) -> dict[str, Inventory | None]:
    """The inventories of every app in the cluster's namespace; None stands for one that can't be read.

    An app that isn't among them was not deployed by `eaves deploy`: its objects were applied by kubectl or from Git, or
    by a version of Eaves that kept no inventory.

    Raises:
        DeniedError: When the current user may not list ConfigMaps.
        ClusterError: When they can't be listed.
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
    """Store an inventory, provided that nobody changed it since it was read.

    Killed on the way, either the old one or the new one is stored. One that was removed is not made again: a
    resourceVersion alone would let the API server do that, a UID doesn't.

    Returns:
        The same with the `version` that it has now.

    Raises:
        ConflictError: When it changed since it was read.
        ClusterError: When it can't be written.
    """
    version, uid = (inventory.version, inventory.uid) if inventory.version else _create(cluster, inventory.app)
    manifest = _manifest(inventory.app)
    manifest["metadata"] |= {"resourceVersion": version, "uid": uid}
    manifest["data"] = {DATA_KEY: _encode(inventory)}
    try:
        written = cluster.apply(manifest, manager=MANAGER, force=True)
    except (ConflictError, UnreachableClusterError) as error:
        # The answer to a write may be lost; then it, or its repetition, seems to have failed.
        stored = cluster.get(CONFIG_MAP, inventory_name(inventory.app))
        if stored is None or stored.get("data") != manifest["data"]:
            raise (_changed(cluster, inventory.app) if isinstance(error, ConflictError) else error) from error
        written = stored
    return replace(inventory, version=str(written["metadata"]["resourceVersion"]), uid=str(written["metadata"]["uid"]))


def _create(cluster: Cluster, app: str) -> tuple[str, str]:
    """Make the empty ConfigMap; its resourceVersion and UID. Of two that make it, one writes and one is told."""
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
            hint=f"rename it: Eaves keeps the list of the objects of {app} under that name",
        )
    version, uid = str(metadata["resourceVersion"]), str(metadata["uid"])
    text = (found.get("data") or {}).get(DATA_KEY)
    if text is None:  # whoever made it was stopped before it was written
        return Inventory(app=app, version=version, uid=uid)
    try:
        document = json.loads(text)
        layout = document["layout"]
        if layout == LAYOUT:
            items = tuple(InventoryItem(**_checked(InventoryItem, one)) for one in document["items"])
            told = document["deployment"]
            deployment = None if told is None else DeploymentRecord(**_checked(DeploymentRecord, told))
            return Inventory(app=app, items=items, deployment=deployment, version=version, uid=uid)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        delete = f"kubectl --context {cluster.name} -n {cluster.namespace} delete configmap {name}"
        raise InvalidError(
            f"{cluster.name}: the inventory of {app} (ConfigMap {name} in {cluster.namespace}) is damaged: {error}",
            hint=f"{delete}; then `eaves deploy --adopt` writes it again",
        ) from error
    raise InvalidError(
        f"{cluster.name}: the inventory of {app} has the layout {layout}, and this version of Eaves knows {LAYOUT}",
        hint="use the version of Eaves that deployed it",
    )


_WORDS: dict[type, str] = {InventoryItem: "item", DeploymentRecord: "deployment"}
"""What a message calls each of them."""


def _checked(kind: type[InventoryItem | DeploymentRecord], value: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a record, each of its type."""
    known: dict[str, type | tuple[type, ...]] = {"sequence": int, "at": (int, float)}
    names = {field.name for field in fields(kind)}
    if set(value) != names:
        raise ValueError(f"a {_WORDS[kind]} has the fields {sorted(names)}, this one {sorted(value)}")
    for name, one in value.items():
        if not isinstance(one, known.get(name, str)) or isinstance(one, bool):
            raise TypeError(f"{name} is {one!r}")
    return dict(value)


def _changed(cluster: Cluster, app: str) -> ConflictError:
    return ConflictError(
        f"{cluster.name}: the inventory of {app} changed meanwhile: somebody else deploys or removes {app}",
        hint="wait until they are done, then do it again",
    )
