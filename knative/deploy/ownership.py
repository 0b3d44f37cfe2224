"""Which objects of a cluster belong to an app: those that its inventory lists by UID.

Any user can set a label, so a label proves no ownership. It only tells an object of the app from one of another owner
that has the same name, which Eaves takes over only with `adopt`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eaves.errors import ConflictError, DeniedError, InvalidError
from knative.client.kinds import (
    BROKER,
    DAEMON_SET,
    EVENT_TYPE,
    JOB_SINK,
    KSERVICE,
    NAMESPACE,
    NETWORK_POLICY,
    SERVICE,
    SERVICE_ACCOUNT,
    SINK_BINDING,
    STATEFUL_SET,
    TRIGGER,
    ObjectKind,
    kind_of,
)
from knative.deploy.inventory import Inventory, InventoryItem, Key, Manifests, change_inventory, item_kind
from knative.resources.function import is_pin, is_pin_name
from knative.resources.metadata import (
    APP_LABEL,
    MANAGED_LABEL,
    MANAGED_VALUE,
    MANAGER,
    NAMESPACE_LABEL,
    SITE_LABEL,
)

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

AT_HOME = (
    TRIGGER,
    SINK_BINDING,
    STATEFUL_SET,
    DAEMON_SET,
    JOB_SINK,
    KSERVICE,
    SERVICE,
    EVENT_TYPE,
    NETWORK_POLICY,
    SERVICE_ACCOUNT,
)
"""Kinds of an app's objects in the app's namespace, in the order of removal: an object is removed before the objects
that it depends on."""
ON_NODES = (SINK_BINDING, DAEMON_SET, SERVICE_ACCOUNT)
"""Kinds of an app's objects in the namespace of the agents on nodes, in the order of removal."""
Object = Mapping[str, Any]
_KINDS = {item_kind(kind): kind for kind in AT_HOME}

CREATED, CHANGED, UNCHANGED, REMOVED, ADOPTED = "created", "changed", "unchanged", "removed", "adopted"
LEFT = "left"
"""Outcome of a removal when the object in the inventory is gone and another object has its name, so nothing is
deleted."""
UNJUDGED = "unjudged"
"""Outcome in a dry run when the object's namespace doesn't exist yet, so the API server can't validate the object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyResult:
    """The outcome (`created`, `changed`, ..., `unjudged`) of applying or removing one object."""

    kind: str
    name: str
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AppOwner:
    """The app that owns objects in a cluster.

    Attributes:
        app: Name of the app; empty means every app.
        agents: Namespace of the agents on nodes; empty when there is none.
    """

    app: str
    agents: str = ""

    def owns(self, one: Object, home: str) -> bool:
        """Return whether an object carries the labels of the app in the namespace `home`."""
        metadata = one["metadata"]
        labels = metadata.get("labels") or {}
        elsewhere = metadata.get("namespace", home) != home
        return labels.get(APP_LABEL) == self.app and (not elsewhere or labels.get(NAMESPACE_LABEL) == home)

    def has_agent(self, labels: Mapping[str, Any], home: str) -> bool:
        """Return whether an agent on nodes with these labels belongs to an app in the namespace `home`."""
        return labels.get(NAMESPACE_LABEL) == home


def is_ours(one: Object) -> bool:
    """Return whether an object has the label that all objects of Eaves carry."""
    return bool((one["metadata"].get("labels") or {}).get(MANAGED_LABEL) == MANAGED_VALUE)


def is_applied_by_eaves(one: Object) -> bool:
    """Return whether Eaves applied an object, by its labels and its field managers."""
    entries = one["metadata"].get("managedFields") or ()
    return is_ours(one) and any(entry.get("manager") == MANAGER for entry in entries)


def is_shared(manifest: Object) -> bool:
    """Return whether several apps share an object, such as a Broker or the namespace of agents."""
    return APP_LABEL not in (manifest["metadata"].get("labels") or {})


def is_satisfied(manifest: Object, namespace: Object) -> bool:
    """Return whether an existing namespace, of any owner, has the labels that agents on nodes need."""
    wanted, has = manifest["metadata"]["labels"], namespace["metadata"].get("labels") or {}
    return all(has.get(name) == value for name, value in wanted.items() if name != MANAGED_LABEL)


def key_of(one: Object, cluster: Cluster) -> Key:
    """Return the identity of an object, as an inventory has it."""
    metadata, kind = one["metadata"], kind_of(one)
    namespace = (metadata.get("namespace") or cluster.namespace) if kind.namespaced else ""
    return item_kind(kind), namespace, str(metadata["name"])


def build_item(one: Object, cluster: Cluster) -> InventoryItem:
    """Build the inventory item of an object; it has no UID when the object is a manifest that isn't applied yet."""
    kind, namespace, name = key_of(one, cluster)
    return InventoryItem(kind=kind, name=name, namespace=namespace, uid=str(one["metadata"].get("uid", "")))


def kind_named(item: InventoryItem) -> ObjectKind:
    """Return the kind of an object in the inventory.

    Raises:
        InvalidError: When this version of Eaves doesn't know the kind.
    """
    if item.kind not in _KINDS:
        raise InvalidError(
            f"the inventory lists {item.kind} {item.name} in {item.namespace}, but this version of Eaves does not "
            f"support {item.kind}",
            hint="use the version of Eaves that deployed the app",
        )
    return _KINDS[item.kind]


def order_removal(items: Iterable[InventoryItem]) -> list[InventoryItem]:
    """Sort objects into the order of removal: an object is removed before the objects that it depends on."""
    return sorted(items, key=lambda item: (AT_HOME.index(kind_named(item)), item.namespace, item.name))


def is_pin_item(app: str, item: InventoryItem) -> bool:
    """Return whether an inventory lists a pin of the app."""
    return item.kind == item_kind(DAEMON_SET) and is_pin_name(app, item.name)


def find_labelled(cluster: Cluster, owner: AppOwner) -> list[Object]:
    """List the objects that carry an app's labels, without those that another object controls.

    Knative copies the labels of a Knative Service to the Kubernetes Services that it makes for that Service.

    Raises:
        ClusterError: When a request to the cluster is refused or fails.
    """
    selector = f"{APP_LABEL}={owner.app},{MANAGED_LABEL}={MANAGED_VALUE}"
    found = [one for kind in AT_HOME for one in cluster.list(kind, selector=selector)]
    if owner.agents and owner.agents != cluster.namespace:
        selector += f",{NAMESPACE_LABEL}={cluster.namespace}"
        found += [one for kind in ON_NODES for one in cluster.list(kind, namespace=owner.agents, selector=selector)]
    owners = ((one, one["metadata"].get("ownerReferences") or ()) for one in found)
    return [one for one, by in owners if not any(owner.get("controller") for owner in by)]


def find_known(cluster: Cluster, manifests: Manifests, owner: AppOwner, *, adopt: bool = True) -> dict[Key, Object]:
    """Return the existing objects that have the name of a rendered object.

    Raises:
        ConflictError: Without `adopt`, when an object of another owner has a name that the app renders.
        ClusterError: When a request to the cluster is refused or fails.
    """
    found: dict[Key, Object] = {}
    for manifest in manifests:
        one = _read(cluster, manifest)
        if one is None:
            continue
        found[key_of(manifest, cluster)] = one
        if not (adopt or _is_known(manifest, one, owner, cluster.namespace)):
            kind, name = kind_of(manifest), manifest["metadata"]["name"]
            raise ConflictError(
                f"{cluster.name}: {kind.kind} {name} exists already and does not belong to this app: {_whose(one)}",
                hint=_remedy(manifest),
            )
    return found


def find_left(cluster: Cluster, inventory: Inventory, manifests: Manifests) -> list[InventoryItem]:
    """Return the objects of the inventory that are no longer rendered, in the order of removal.

    Pins stay while the app has one; `knative.deploy.removal` removes those that no revision needs any more.
    """
    wanted = {key_of(one, cluster) for one in manifests}
    pinned = any(is_pin(one) for one in manifests)
    return order_removal(
        item for item in inventory.items if item.key not in wanted and not (pinned and is_pin_item(inventory.app, item))
    )


def list_intended(
    cluster: Cluster, inventory: Inventory, manifests: Manifests, known: Mapping[Key, Object]
) -> Inventory:
    """Add the objects that are about to be applied, so that a killed deploy leaves no object unlisted.

    An object that doesn't exist, or whose UID differs from the inventory's, is added without a UID; it belongs to the
    app once it is applied.
    """
    listed = {item.key: item.uid for item in inventory.items}
    there = {key: str(one["metadata"].get("uid", "")) for key, one in known.items()}
    keys = {key_of(one, cluster): one for one in manifests}
    return list_applied(
        cluster, inventory, [one for key, one in keys.items() if key not in listed or listed[key] != there.get(key, "")]
    )


def list_applied(cluster: Cluster, inventory: Inventory, applied: Iterable[Object]) -> Inventory:
    """Add objects of the app, with the UIDs that the API server gave to those that are applied."""
    added = [build_item(one, cluster) for one in applied if not is_shared(one)]
    return inventory.with_items({item.key: item for item in (*inventory.items, *added)}.values())


def remove_items(
    cluster: Cluster, inventory: Inventory, left: Sequence[InventoryItem], *, dry_run: bool = False
) -> list[ApplyResult]:
    """Delete objects by UID and take them off the inventory; an object that is already gone has no result.

    Raises:
        ClusterError: When a request to the cluster is refused or fails.
    """
    removed = [one for item in left for one in delete_item(cluster, item, inventory.app, dry_run=dry_run)]
    if left and not dry_run:
        change_inventory(
            cluster,
            inventory,
            lambda one: one.with_items(item for item in one.items if item not in left),
            before="the rest was removed",
        )
    return removed


def delete_item(cluster: Cluster, item: InventoryItem, app: str, *, dry_run: bool = False) -> list[ApplyResult]:
    """Delete an object of an app by its UID, and never another object of the same name.

    Returns:
        One result, `removed`, or `left` when the object of that name belongs to another owner; none for no object.

    Raises:
        ClusterError: When a request to the cluster is refused or fails.
    """
    kind, uid, outcome = kind_named(item), item.uid, REMOVED
    if not uid:
        one = cluster.get(kind, item.name, namespace=item.namespace)
        if one is None:
            return []
        uid = str(one["metadata"]["uid"])
        if not (is_applied_by_eaves(one) and one["metadata"]["labels"].get(APP_LABEL) == app):
            outcome = LEFT
    if outcome == REMOVED:
        try:
            if not cluster.delete(kind, item.name, namespace=item.namespace, dry_run=dry_run, uid=uid):
                return []
        except ConflictError:
            outcome = LEFT
    return [ApplyResult(kind=kind.kind, name=item.name, outcome=outcome)]


def _read(cluster: Cluster, manifest: Object) -> Object | None:
    kind, metadata = kind_of(manifest), manifest["metadata"]
    try:
        return cluster.get(kind, metadata["name"], namespace=metadata.get("namespace"))
    except DeniedError:
        if kind is not NAMESPACE:
            raise
        return manifest  # a user who may not see namespaces can't make any; a missing one is reported for its objects


def _is_known(manifest: Object, one: Object, owner: AppOwner, home: str) -> bool:
    if kind_of(manifest) is NAMESPACE:
        return is_ours(one) or is_satisfied(manifest, one)
    return is_ours(one) if is_shared(manifest) else owner.owns(one, home)


def _whose(one: Object) -> str:
    labels = one["metadata"].get("labels") or {}
    if labels.get(APP_LABEL):
        return f"it belongs to the app {labels[APP_LABEL]} of the site {labels.get(SITE_LABEL, '?')}"
    entries = one["metadata"].get("managedFields") or ()
    managers = dict.fromkeys(str(entry.get("manager")) for entry in entries if not entry.get("subresource"))
    return f"it was created by {', '.join(managers) or 'an unknown client'}"


def _remedy(manifest: Object) -> str:
    kind, metadata = kind_of(manifest), manifest["metadata"]
    adopt = (
        "`eaves diff IMAGE --on knative` shows what would change; `eaves deploy IMAGE --on knative --adopt` takes the "
        "object over"
    )
    if kind is BROKER:
        return f"to use the Broker as it is, set knative.create_broker: no in eaves.yaml; {adopt}"
    if kind is NAMESPACE:
        wanted = " ".join(f"{name}={value}" for name, value in metadata["labels"].items() if name != MANAGED_LABEL)
        return f"kubectl label namespace {metadata['name']} {wanted}; or name another in knative.agent_namespace"
    return adopt
