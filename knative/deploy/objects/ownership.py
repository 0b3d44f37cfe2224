"""The objects of a cluster that belong to an app: those that its inventory lists by UID."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from eaves.errors import ConflictError, InvalidError
from knative.client.kinds import ObjectKind, kind_of
from knative.deploy.objects.apply_result import LEFT, REMOVED
from knative.deploy.objects.inventory import Inventory, InventoryItem, item_kind, read_inventory, write_inventory
from knative.deploy.objects.labelled_objects import (
    AT_HOME,
    AppOwner,
    Key,
    find_listed,
    find_owned,
    is_app_part,
    is_applied_by_eaves,
    is_shared,
    key_of,
)
from knative.deploy.objects.name_conflicts import find_foreign_objects
from knative.resources.metadata import APP_LABEL

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

Object = Mapping[str, Any]
Change = Callable[[Sequence[InventoryItem]], Iterable[InventoryItem]]
ATTEMPTS = 5
"""Number of attempts to store the list of an app's objects while other processes change it."""
_KINDS = {item_kind(kind): kind for kind in AT_HOME}


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedObjects:
    """The objects that a deploy finds in a cluster.

    Attributes:
        inventory: The app's inventory as it was read.
        known: Existing objects that have the name of a rendered object, of any owner.
        others: Objects in `known` that don't carry the app's labels.
        items: Inventory items of the app's own objects; without an inventory, those that Eaves applied.
        left: Inventory items of the app's own objects that are no longer rendered and no longer needed.
    """

    inventory: Inventory
    known: Mapping[Key, Object]
    others: Mapping[Key, Object]
    items: tuple[InventoryItem, ...]
    left: tuple[InventoryItem, ...]


def find_holdings(
    cluster: Cluster,
    manifests: Sequence[Object],
    owner: AppOwner,
    *,
    inventory: Inventory | None = None,
    needed: Callable[[InventoryItem], bool] = lambda item: False,
) -> OwnedObjects:
    """Find the objects that an app has in a cluster, without changing any.

    Args:
        cluster: Connection to the cluster, in the app's namespace.
        manifests: The app's rendered objects.
        owner: The app.
        inventory: The app's inventory if it was read already; None reads it.
        needed: Function that says whether an object must stay although it isn't rendered, such as a pin.

    Raises:
        InvalidError: When the inventory is damaged.
        ClusterError: When a request to the cluster is refused or fails.
    """
    found = read_inventory(cluster, owner.app) if inventory is None else inventory
    labelled = _find_known(cluster, owner, found, manifests) if found.items else find_owned(cluster, owner)
    there = {key_of(one, cluster): one for one in labelled}
    items = {_key(item): item for item in found.items}
    if not items:  # the inventory was deleted, or its deploy stopped right after it was made
        items = {key: build_item(one, cluster) for key, one in there.items() if is_app_part(one)}
    others = find_foreign_objects(cluster, manifests, there)

    def stays(item: InventoryItem) -> bool:
        # A removal of an absent object may have been stopped before the inventory recorded it.
        return needed(item) and (not there or _key(item) in there)

    left = no_longer_wanted(cluster, list(items.values()), manifests, needed=stays)
    return OwnedObjects(
        inventory=found, known={**others, **there}, others=others, items=tuple(items.values()), left=tuple(left)
    )


def _find_known(
    cluster: Cluster, owner: AppOwner, inventory: Inventory, manifests: Sequence[Object]
) -> list[dict[str, Any]]:
    """List the existing objects of the kinds and namespaces that are rendered or in the inventory."""
    places = {(kind_named(item), item.namespace) for item in inventory.items}
    for manifest in manifests:
        kind, (_, _, namespace) = kind_of(manifest), key_of(manifest, cluster)
        places |= {(kind, namespace)} if kind in AT_HOME else set()
    return find_listed(cluster, owner, places)


def no_longer_wanted(
    cluster: Cluster,
    items: Iterable[InventoryItem],
    manifests: Sequence[Object],
    *,
    needed: Callable[[InventoryItem], bool] = lambda item: False,
) -> list[InventoryItem]:
    """Return the objects of the inventory that are neither rendered nor needed any more, in the order of removal."""
    wanted = {key_of(one, cluster) for one in manifests}
    return order_removal(item for item in items if _key(item) not in wanted and not needed(item))


def order_removal(items: Iterable[InventoryItem]) -> list[InventoryItem]:
    """Sort objects into the order of removal: an object is removed before the objects that it depends on."""
    return sorted(items, key=lambda item: (AT_HOME.index(kind_named(item)), item.namespace, item.name))


def record_intended(cluster: Cluster, holdings: OwnedObjects, manifests: Sequence[Object]) -> Inventory:
    """Add the objects that are about to be applied to the inventory, so that a killed deploy leaves no object unlisted.

    An object that doesn't exist, or whose UID differs from the inventory's, is added without a UID; it belongs to the
    app once it is applied.

    Raises:
        ConflictError: When another user deploys or removes the app.
        ClusterError: When a request to the cluster is refused or fails.
    """
    uids = {key: str(one["metadata"].get("uid", "")) for key, one in holdings.known.items()}

    def change(items: Sequence[InventoryItem]) -> Iterable[InventoryItem]:
        listed = {_key(item): item for item in items or holdings.items}
        for manifest in manifests:
            key = key_of(manifest, cluster)
            if not is_shared(manifest) and (key not in listed or listed[key].uid != uids.get(key)):
                listed[key] = build_item(manifest, cluster)
        return listed.values()

    return record(cluster, holdings.inventory, change, always=True)


def record(cluster: Cluster, inventory: Inventory, change: Change, *, always: bool = False) -> Inventory:
    """Change the list of an app's objects in the inventory.

    Other commands for the same deployment may change the list at the same time, for example when a pin is removed
    during a deploy, or two processes reconcile. Their changes are kept.

    Args:
        cluster: Connection to the cluster, in the app's namespace.
        inventory: The inventory as it was read or written last.
        change: Function that returns the new list, given the present one; it is called again when another process wrote
            first.
        always: Write even if nothing changed, to detect whether another process changed the inventory.

    Raises:
        ConflictError: When another user deployed or removed the app since the inventory was read.
        ClusterError: When a request to the cluster is refused or fails.
    """
    for attempt in range(ATTEMPTS):
        new = tuple(sorted(change(inventory.items), key=lambda item: (item.namespace, item.kind, item.name)))
        if new == inventory.items and not always:
            break
        try:
            return write_inventory(cluster, replace(inventory, items=new))
        except ConflictError:
            last, inventory = inventory.deployment, read_inventory(cluster, inventory.app)
            if last is None or inventory.deployment != last or attempt == ATTEMPTS - 1:
                raise
    return inventory


def with_uids(
    cluster: Cluster, items: Iterable[InventoryItem], manifests: Sequence[Object], applied: Mapping[Key, Object]
) -> list[InventoryItem]:
    """Return the list of an app's objects with the UIDs that the API server gave to the applied objects."""
    listed = {_key(item): item for item in items}
    for manifest in manifests:
        key = key_of(manifest, cluster)
        if key in applied and not is_shared(manifest):
            listed[key] = build_item(applied[key], cluster)
    return list(listed.values())


def delete_item(cluster: Cluster, item: InventoryItem, app: str, *, dry_run: bool = False) -> str:
    """Delete an object of an app by its UID, and never another object of the same name.

    Returns:
        `removed`, `left` when the object of that name belongs to another owner, or empty when there is none.

    Raises:
        ClusterError: When a request to the cluster is refused or fails.
    """
    kind, uid = kind_named(item), item.uid
    if not uid:
        one = cluster.get(kind, item.name, namespace=item.namespace)
        if one is None:
            return ""
        if not (is_applied_by_eaves(one) and one["metadata"]["labels"].get(APP_LABEL) == app):
            return LEFT
        uid = str(one["metadata"]["uid"])
    try:
        there = cluster.delete(kind, item.name, namespace=item.namespace, dry_run=dry_run, uid=uid)
    except ConflictError:
        return LEFT
    return REMOVED if there else ""


def build_item(one: Object, cluster: Cluster) -> InventoryItem:
    """Build the inventory item of an object; it has no UID when the object is a manifest that isn't applied yet."""
    kind, (_, name, namespace) = kind_of(one), key_of(one, cluster)
    return InventoryItem(kind=item_kind(kind), name=name, namespace=namespace, uid=str(one["metadata"].get("uid", "")))


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


def _key(item: InventoryItem) -> Key:
    kind = kind_named(item)
    return f"{kind.group}/{kind.kind}", item.name, item.namespace if kind.namespaced else ""
