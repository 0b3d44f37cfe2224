"""Removal of an app's objects from a cluster: those that its inventory lists, and a Broker that is no longer used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eaves.errors import ConflictError, NotFoundError
from knative.client.kinds import BROKER, CONFIG_MAP, KSERVICE, SERVICE_ACCOUNT, TRIGGER
from knative.deploy.inventory import ATTEMPTS, Inventory, InventoryItem, inventory_name, read_inventory
from knative.deploy.ownership import (
    AT_HOME,
    LEFT,
    ON_NODES,
    REMOVED,
    ApplyResult,
    AppOwner,
    build_item,
    delete_item,
    find_labelled,
    is_applied_by_eaves,
    is_ours,
    order_removal,
)
from knative.resources.metadata import MANAGED_LABEL, MANAGED_VALUE

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

_OURS = f"{MANAGED_LABEL}={MANAGED_VALUE}"


def remove_app(cluster: Cluster, owner: AppOwner, *, adopt: bool = False) -> list[ApplyResult]:
    """Delete every object of an app, and the Brokers made by Eaves that no Trigger uses any more.

    When the removal is killed at any point, the next call continues it. Volumes with images that the broker hasn't
    accepted yet stay, because Kubernetes keeps the volumes of a deleted StatefulSet.

    Args:
        cluster: Connection to the cluster, in the app's namespace.
        owner: The app.
        adopt: Delete also objects that `eaves render` rendered and another tool applied.

    Raises:
        ConflictError: When `deploy` applied none of the objects, or another user deploys the app at the same time.
        NotFoundError: When the app has no objects.
        ClusterError: When a request to the cluster is refused or fails.
    """
    inventory = read_inventory(cluster, owner.app)
    items = find_removable(cluster, owner, inventory, adopt=adopt)
    if not items and not inventory.version:
        services = cluster.list(KSERVICE, selector=_OURS)
        known = ", ".join(sorted(one["metadata"]["name"] for one in services)) or "none"
        raise NotFoundError(
            f"the function {owner.app!r} does not exist in {cluster.namespace} of {cluster.name} (known "
            f"functions: {known})",
            hint="eaves status --on knative",
        )
    accounts = [item for item in items if item.kind == SERVICE_ACCOUNT.kind]  # last: pods of the others run as they
    others = [item for item in items if item.kind != SERVICE_ACCOUNT.kind]
    removed = [*_delete(cluster, others, inventory), *_remove_unused_brokers(cluster)]
    removed += _delete(cluster, accounts, inventory)
    return [*removed, *_delete_inventory(cluster, inventory, items)]


def find_removable(
    cluster: Cluster, owner: AppOwner, inventory: Inventory | None = None, *, adopt: bool = False
) -> list[InventoryItem]:
    """Find the objects that `remove_app` deletes, in the order of removal: those that the inventory lists.

    Without an inventory, they are those that Eaves applied: a deploy that a removal overtook leaves such objects.

    Args:
        cluster: Connection to the cluster, in the app's namespace.
        owner: The app.
        inventory: The app's inventory if it was read already; None reads it.
        adopt: Include objects that `eaves render` rendered and another tool applied.

    Raises:
        ConflictError: When `deploy` applied none of the objects.
        ClusterError: When a request to the cluster is refused or fails.
    """
    inventory = read_inventory(cluster, owner.app) if inventory is None else inventory
    found = {item.key: item for item in inventory.items}
    if adopt or not inventory.version:
        places = [(kind, cluster.namespace) for kind in AT_HOME]
        if owner.agents and owner.agents != cluster.namespace:
            places += [(kind, owner.agents) for kind in ON_NODES]
        labelled = find_labelled(cluster, owner, places)
        applied = [one for one in labelled if is_applied_by_eaves(one)]
        if labelled and not applied and not adopt:
            raise _not_deployed(cluster, owner, labelled)
        for one in labelled:
            if one in applied or (adopt and is_ours(one) and _is_named_after(one, owner.app)):
                item = build_item(one, cluster)
                found.setdefault(item.key, item)
    return order_removal(found.values())


def _remove_unused_brokers(cluster: Cluster) -> Iterator[ApplyResult]:
    """Delete the Brokers of a namespace that Eaves created and that no Trigger uses; apps share them."""
    brokers = cluster.list(BROKER, selector=_OURS)
    # The last request before a Broker is deleted: an app whose Trigger comes later makes the Broker again.
    triggers = [one for one in cluster.list(TRIGGER) if "deletionTimestamp" not in one["metadata"]]
    used = {str(one["spec"].get("broker")) for one in triggers}
    for one in brokers:
        metadata = one["metadata"]
        if metadata["name"] in used or not is_applied_by_eaves(one) or "deletionTimestamp" in metadata:
            continue
        try:
            cluster.delete(BROKER, metadata["name"], uid=metadata["uid"], version=metadata["resourceVersion"])
        except ConflictError:  # a deploy of another app may have applied it since
            yield ApplyResult(kind=BROKER.kind, name=str(metadata["name"]), outcome=LEFT)
        else:
            yield ApplyResult(kind=BROKER.kind, name=str(metadata["name"]), outcome=REMOVED)


def _delete(cluster: Cluster, items: Sequence[InventoryItem], inventory: Inventory) -> Iterator[ApplyResult]:
    """Delete objects one by one; stop with an error when another user deploys the app meanwhile."""
    for item in items:
        if read_inventory(cluster, inventory.app).deployment != inventory.deployment:
            raise _overtaken(cluster, inventory.app)
        if outcome := delete_item(cluster, item, inventory.app):
            yield ApplyResult(kind=item.kind.rpartition("/")[2], name=item.name, outcome=outcome)


def _delete_inventory(cluster: Cluster, inventory: Inventory, done: Sequence[InventoryItem]) -> Iterator[ApplyResult]:
    """Delete the inventory. Objects that were added to it since it was read are deleted first."""
    for _ in range(ATTEMPTS):
        if not inventory.version:
            return
        try:
            cluster.delete(CONFIG_MAP, inventory_name(inventory.app), version=inventory.version)
        except ConflictError:
            last, inventory = inventory.deployment, read_inventory(cluster, inventory.app)
            if inventory.version and inventory.deployment != last:
                break
            yield from _delete(cluster, order_removal(item for item in inventory.items if item not in done), inventory)
        else:
            return
    raise _overtaken(cluster, inventory.app)


def _overtaken(cluster: Cluster, app: str) -> ConflictError:
    return ConflictError(
        f"{cluster.name}: another user deployed {app} while it was being removed",
        hint="eaves status --on knative   # shows what is deployed now",
    )


def _is_named_after(one: Mapping[str, Any], app: str) -> bool:
    """Return whether an object has a name of the form that `eaves render` uses: `APP` or `APP-...`."""
    name = str(one["metadata"]["name"])
    return name == app or name.startswith(f"{app}-")


def _not_deployed(cluster: Cluster, owner: AppOwner, found: Sequence[Mapping[str, Any]]) -> ConflictError:
    listed = ", ".join(f"{one['kind']} {one['metadata']['name']}" for one in found)
    return ConflictError(
        f"{cluster.name}: {owner.app} in {cluster.namespace} was not deployed by `eaves deploy`, so Eaves does "
        f"not know which of these objects belong to it: {listed}",
        hint="remove them by the tool that applied them (kubectl delete -f, Git); or run `eaves remove "
        f"{owner.app} --on knative --adopt`, which shows what it deletes",
    )
