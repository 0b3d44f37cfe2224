"""Removal of an app's objects from a cluster: those that its inventory lists, and pins that no revision needs any more.

A deploy applies the pin of the container image that it renders. The pins of earlier deploys stay until no revision that
serves, or that a rollback returns to, needs them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from eaves.errors import ConflictError, DeniedError, InvalidError, NotFoundError
from knative.client.kinds import CONFIG_MAP, KSERVICE, REVISION
from knative.deploy.inventory import (
    Inventory,
    ObjectKey,
    change_inventory,
    changed,
    inventory_name,
    read_inventory,
)
from knative.deploy.ownership import (
    LEFT,
    REMOVED,
    ApplyResult,
    AppOwner,
    find_labelled,
    is_ours,
    is_pin_key,
    key_of,
    kind_named,
    order_removal,
)
from knative.readiness.conditions import image_of
from knative.resources.metadata import APP_LABEL, MANAGED_LABEL, MANAGED_VALUE, MANAGER, PIN_ANNOTATION
from knative.resources.pin import pin_name
from knative.rollout import parse_rollout_status

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

SERVICE_LABEL = "serving.knative.dev/service"
"""Label of a Revision with its Service. Source: knative/serving, pkg/apis/serving/register.go."""


def remove_app(cluster: Cluster, owner: AppOwner, *, adopt: bool = False) -> list[ApplyResult]:
    """Delete every object of an app. The Broker stays, since other apps may use it.

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
        services = cluster.list(KSERVICE, selector=f"{MANAGED_LABEL}={MANAGED_VALUE}")
        known = ", ".join(sorted(one["metadata"]["name"] for one in services)) or "none"
        raise NotFoundError(
            f"the function {owner.app!r} does not exist in {cluster.namespace} of {cluster.name} (known "
            f"functions: {known})",
            hint="eaves status --on knative",
        )
    done = delete_objects(cluster, inventory, items)
    if inventory.version:
        try:
            cluster.delete(CONFIG_MAP, inventory_name(inventory.app), version=inventory.version)
        except ConflictError:
            inventory.require_newest(cluster, before="")
            raise changed(cluster, owner.app) from None
    return done


def delete_objects(
    cluster: Cluster, inventory: Inventory, items: Mapping[ObjectKey, str], *, dry_run: bool = False
) -> list[ApplyResult]:
    """Delete objects of an app by UID, in order, and stop with an error when another user deploys the app meanwhile.

    Never is another object of the same name deleted; the result of one is then `left`. An object that is already gone
    has no result.

    Raises:
        ConflictError: When another user deployed or removed the app.
        ClusterError: When a request to the cluster is refused or fails.
    """
    done = []
    for key in order_removal(items):
        kind, uid, outcome = kind_named(key), items[key], REMOVED
        inventory.require_newest(cluster, before="the rest was removed")
        if not uid:
            one = cluster.get(kind, key.name, namespace=key.namespace)
            if one is None:
                continue
            uid = str(one["metadata"]["uid"])
            managers = [entry.get("manager") for entry in one["metadata"].get("managedFields") or ()]
            if not (is_ours(one) and one["metadata"]["labels"].get(APP_LABEL) == inventory.app and MANAGER in managers):
                outcome = LEFT
        try:
            if outcome == REMOVED and not cluster.delete(
                kind, key.name, namespace=key.namespace, dry_run=dry_run, uid=uid
            ):
                continue
        except ConflictError:
            outcome = LEFT
        done.append(ApplyResult(kind=kind.kind, name=key.name, outcome=outcome))
    return done


def prune(
    cluster: Cluster, inventory: Inventory, left: Iterable[ObjectKey], *, dry_run: bool = False
) -> list[ApplyResult]:
    """Delete objects that the app no longer has, and take them off the inventory.

    Raises:
        ConflictError: When another user deployed or removed the app.
        ClusterError: When a request to the cluster is refused or fails.
    """
    gone = {key: inventory.items[key] for key in left}
    done = delete_objects(cluster, inventory, gone, dry_run=dry_run)
    if gone and not dry_run:
        change_inventory(
            cluster,
            inventory,
            lambda one: replace(one, items={key: uid for key, uid in one.items.items() if key not in gone}),
            before="the rest was removed",
        )
    return done


def find_removable(
    cluster: Cluster, owner: AppOwner, inventory: Inventory | None = None, *, adopt: bool = False
) -> dict[ObjectKey, str]:
    """Find the objects that `remove_app` deletes, with their UIDs: those that the inventory lists.

    Args:
        cluster: Connection to the cluster, in the app's namespace.
        owner: The app.
        inventory: The app's inventory if it was read already; None reads it.
        adopt: Include objects with the app's labels that another tool applied, or that a deploy left which a removal
            overtook.

    Raises:
        ConflictError: When the app has no inventory, but objects carry its labels.
        ClusterError: When a request to the cluster is refused or fails.
    """
    inventory = read_inventory(cluster, owner.app) if inventory is None else inventory
    found = dict(inventory.items)
    if adopt or not inventory.version:
        labelled = find_labelled(cluster, owner)
        if labelled and not adopt:
            raise _not_deployed(cluster, owner, labelled)
        for one in labelled:
            found.setdefault(key_of(one, cluster), str(one["metadata"]["uid"]))
    return found


def prune_pins(cluster: Cluster, app: str, *, inventory: Inventory | None = None) -> list[ApplyResult]:
    """Remove the pins that no revision of an app needs any more; do nothing if the user lacks a right for that.

    A pin that isn't in the app's inventory stays, and so does a pin that another user made again under the same name.
    All pins stay while the inventory is damaged, and while a deploy is in progress, which may need one of them again.

    Args:
        cluster: Connection to the cluster.
        app: Name of the app.
        inventory: The app's inventory if it was read just now; None reads it.

    Raises:
        ClusterError: When a request to the cluster fails.
    """
    with suppress(DeniedError, ConflictError, InvalidError):
        inventory = read_inventory(cluster, app) if inventory is None else inventory
        pins = [key for key in inventory.items if is_pin_key(app, key)]
        service = cluster.get(KSERVICE, app) if len(pins) > 1 else None
        if service is None or not service["metadata"].get("annotations", {}).get(PIN_ANNOTATION):
            return []  # one pin is needed by the newest revision; without one, the app is being removed
        if inventory.deployment is not None and inventory.deployment.image != image_of(service):
            return []  # a deploy has yet to apply its revision
        needed = {service["metadata"]["annotations"][PIN_ANNOTATION], *_needed_pins(cluster, app, service)}
        return prune(cluster, inventory, [key for key in pins if key.name not in needed])
    return []


def _needed_pins(cluster: Cluster, app: str, service: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of the pins of revisions that get requests, or that `rollback` would give all requests to.

    Only revisions that exist and that Eaves deployed by digest have a pin.
    """
    standing = parse_rollout_status(service)
    names = {*standing.shares, standing.preview, standing.other, standing.newest}
    if (state := standing.current) is not None:
        names |= {state.old, state.new if state.served else ""}
    elif standing.state is not None:
        names.add(standing.state.serving)
    for one in cluster.list(REVISION, selector=f"{SERVICE_LABEL}={app}"):
        image = image_of(one)
        if one["metadata"]["name"] in names and is_ours(one) and "@sha256:" in image:
            yield pin_name(app, image, one["spec"].get("nodeSelector") or {})


def _not_deployed(cluster: Cluster, owner: AppOwner, found: Sequence[Mapping[str, Any]]) -> ConflictError:
    listed = ", ".join(f"{one['kind']} {one['metadata']['name']}" for one in found)
    return ConflictError(
        f"{cluster.name}: {owner.app} in {cluster.namespace} was not deployed by `eaves deploy`, so Eaves does "
        f"not know which of these objects belong to it: {listed}",
        hint="remove them by the tool that applied them (kubectl delete -f, Git); or run `eaves remove "
        f"{owner.app} --on knative --adopt`, which shows what it deletes",
    )
