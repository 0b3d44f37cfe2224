"""Removal of an app's objects from a cluster: those that its inventory lists, and a Broker that is no longer used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from eaves.errors import ConflictError, NotFoundError
from knative.client.kinds import CONFIG_MAP, KSERVICE, SERVICE_ACCOUNT
from knative.deploy.objects.apply_result import ApplyResult
from knative.deploy.objects.brokers import remove_unused_brokers
from knative.deploy.objects.inventory import Inventory, InventoryItem, inventory_name, read_inventory
from knative.deploy.objects.labelled_objects import (
    AppOwner,
    find_owned,
    is_app_part,
    is_applied_by_eaves,
    is_ours,
    is_training,
)
from knative.deploy.objects.ownership import ATTEMPTS, build_item, delete_item, order_removal
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
    accounts = [item for item in items if item.kind == SERVICE_ACCOUNT.kind]  # last: the next call finds the app by it
    others = [item for item in items if item.kind != SERVICE_ACCOUNT.kind]
    removed = [
        *_delete(cluster, others, inventory),
        *remove_unused_brokers(cluster),
        *_delete(cluster, accounts, inventory),
    ]
    return [*removed, *_delete_inventory(cluster, inventory, items)]


def find_removable(
    cluster: Cluster, owner: AppOwner, inventory: Inventory | None = None, *, adopt: bool = False
) -> list[InventoryItem]:
    """Find the objects that `remove_app` deletes, in the order of removal.

    They are the objects that the inventory lists, and the objects of the app's trainings; without an inventory, those
    that Eaves applied.

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
    labelled = find_owned(cluster, owner, thorough=True)
    found = {(item.kind, item.namespace, item.name): item for item in inventory.items}
    chosen: list[Mapping[str, Any]] = [one for one in labelled if is_training(one) and is_applied_by_eaves(one)]
    if not inventory.items:
        applied = [one for one in labelled if is_app_part(one)]
        chosen += applied
        rest = [one for one in labelled if not is_training(one)]
        if rest and not applied and not adopt:
            raise _not_deployed(cluster, owner, rest)
    if adopt:
        chosen += [one for one in labelled if is_ours(one) and _is_named_after(one, owner.app)]
    for one in chosen:
        item = build_item(one, cluster)
        found.setdefault((item.kind, item.namespace, item.name), item)
    return order_removal(found.values())


def _delete(cluster: Cluster, items: Sequence[InventoryItem], inventory: Inventory) -> Iterator[ApplyResult]:
    """Delete objects one by one; stop with an error when another user deploys the app meanwhile."""
    for item in items:
        if read_inventory(cluster, inventory.app).deployment != inventory.deployment:
            raise _overtaken(cluster, inventory.app)
        outcome = delete_item(cluster, item, inventory.app)
        if outcome:
            yield ApplyResult(kind=item.kind.rpartition("/")[2], name=item.name, outcome=outcome)


def _delete_inventory(cluster: Cluster, inventory: Inventory, done: Sequence[InventoryItem]) -> Iterator[ApplyResult]:
    """Delete the inventory. Objects that were added to it since it was read are deleted first."""
    for _ in range(ATTEMPTS):
        if not inventory.version:
            return
        with suppress(ConflictError):
            cluster.delete(CONFIG_MAP, inventory_name(inventory.app), version=inventory.version)
            return
        last, inventory = inventory.deployment, read_inventory(cluster, inventory.app)
        if inventory.version and inventory.deployment != last:
            break
        yield from _delete(cluster, order_removal(item for item in inventory.items if item not in done), inventory)
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
