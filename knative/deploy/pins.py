"""Pins of container images on nodes: those of an app's revisions that have traffic or may get it, also by a rollback.

`render` shows the pin of the container image that it renders. A deploy also applies the pins of the other revisions
that are needed, so that these pins stay or are made again. It removes a pin once no needed revision has its container
image.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from eaves.errors import ConflictError, DeniedError, InvalidError
from knative.client.kinds import DAEMON_SET, KSERVICE, REVISION
from knative.deploy.objects.apply_result import REMOVED, ApplyResult
from knative.deploy.objects.inventory import Inventory, InventoryItem, item_kind, read_inventory, write_inventory
from knative.deploy.objects.ownership import ATTEMPTS
from knative.resources.function import CONTAINER
from knative.resources.metadata import (
    APP_LABEL,
    MANAGED_LABEL,
    MANAGED_VALUE,
    PART_LABEL,
    PIN_ANNOTATION,
)
from knative.resources.pin import PART, build_image_pin, is_pin, is_pin_name, pin_name
from knative.rollout.rollout_status import RolloutStatus, parse_rollout_status
from knative.specs import ClusterApp

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

Manifest = Mapping[str, Any]
SERVICE_LABEL = "serving.knative.dev/service"
"""Label of a Revision with its Service. Source: knative/serving, pkg/apis/serving/register.go."""


def add_pins(cluster: Cluster, manifests: Sequence[Manifest], app: ClusterApp) -> tuple[Manifest, ...]:
    """Add the pins of other revisions that have traffic or that a rollback returns to, to the rendered objects.

    Args:
        cluster: Connection to the cluster of the site.
        manifests: Objects that `render` returned for the app. With `knative.pin: no` they hold no pin, and none is
            added.
        app: The app.

    Raises:
        ClusterError: When a request to the cluster is refused or fails.
    """
    pinned = any(is_pin(one) for one in manifests)
    return add_pins_of(cluster, manifests, app, cluster.get(KSERVICE, app.function.name) if pinned else None)


def add_pins_of(
    cluster: Cluster, manifests: Sequence[Manifest], app: ClusterApp, service: Manifest | None
) -> tuple[Manifest, ...]:
    """Add the pins of other revisions to the rendered objects, for a Knative Service that the caller has read.

    These revisions have traffic, or a rollback returns to them. Without a Service (None) nothing is added.

    Raises:
        ClusterError: When a request to the cluster is refused or fails.
    """
    pin = next((one for one in manifests if is_pin(one)), None)
    if pin is None or service is None:
        return tuple(manifests)
    rendered = names_of_pins(manifests)
    made: dict[str, Manifest] = {}
    for image, revision in _images(cluster, app.function.name, find_served(parse_rollout_status(service))):
        selector = revision["spec"].get("nodeSelector") or {}
        name = pin_name(app.function.name, image, selector)
        if name not in rendered:
            namespace = str(pin["metadata"].get("namespace", ""))
            made[name] = build_image_pin(app, namespace, image=image, placement=revision["spec"])
    first = list(manifests).index(pin)
    return (*manifests[:first], *(made[name] for name in sorted(made)), *manifests[first:])


def names_of_pins(manifests: Sequence[Manifest]) -> set[str]:
    """Return the names of the pins among the objects of an app."""
    return {str(one["metadata"]["name"]) for one in manifests if is_pin(one)}


def keep_pins(app: str, manifests: Sequence[Manifest]) -> Callable[[InventoryItem], bool]:
    """Build a function that says which objects of the inventory a deploy must not remove: the app's pins.

    `prune_pins` removes pins later. When the deploy applies no pin, the function protects none.

    Args:
        app: Name of the app.
        manifests: Objects that the deploy applies.
    """
    pinned = any(is_pin(one) for one in manifests)
    return lambda item: pinned and item.kind == item_kind(DAEMON_SET) and is_pin_name(app, item.name)


def listed_pins(inventory: Inventory) -> set[str]:
    """Return the names of the pins that an app's inventory lists; pins that aren't listed are never removed."""
    items = (item for item in inventory.items if item.kind == item_kind(DAEMON_SET))
    return {item.name for item in items if is_pin_name(inventory.app, item.name)}


def find_served(standing: RolloutStatus) -> set[str]:
    """Return the revisions that get requests, and those that `rollback` would give all requests to. Pure.

    Args:
        standing: Rollout status of the Knative Service.
    """
    state = standing.current
    found = {*standing.shares, standing.preview, standing.other}
    if state is not None:
        found |= {state.old, state.new if state.served else ""}
    elif standing.state is not None:
        found.add(standing.state.serving)
    return found - {""}


def prune_pins(cluster: Cluster, app: str, *, keep: Collection[str] = ()) -> list[ApplyResult]:
    """Remove the pins that no revision of an app needs any more; do nothing if the user lacks a right for that.

    A pin that isn't in the app's inventory stays, and so does a pin that another user made again under the same name.
    All pins stay while the inventory is damaged, and while a deploy is in progress, which may need one of them again.

    Args:
        cluster: Connection to the cluster.
        app: Name of the app.
        keep: Names of pins that are known to be needed.

    Raises:
        ClusterError: When a request to the cluster fails.
    """
    with suppress(DeniedError, ConflictError, InvalidError):
        pins = cluster.list(DAEMON_SET, selector=f"{APP_LABEL}={app},{PART_LABEL}={PART}")
        left = [one for one in pins if one["metadata"]["name"] not in keep]
        service = cluster.get(KSERVICE, app) if left else None
        current = (service or {"metadata": {}})["metadata"].get("annotations", {}).get(PIN_ANNOTATION)
        if service is None or not current:
            return []  # the app is being removed
        needed = {current, *_needed_pins(cluster, app, parse_rollout_status(service))}
        unneeded = [one for one in left if one["metadata"]["name"] not in needed]
        return _remove_listed(cluster, service, unneeded) if unneeded else []
    return []


def _needed_pins(cluster: Cluster, app: str, standing: RolloutStatus) -> Iterator[str]:
    revisions = find_served(standing) | {standing.newest}
    for image, revision in _images(cluster, app, revisions):
        yield pin_name(app, image, revision["spec"].get("nodeSelector") or {})


def _images(cluster: Cluster, app: str, names: Collection[str]) -> Iterator[tuple[str, Manifest]]:
    """Yield (container image, revision) of the named revisions.

    Revisions that don't exist, that Eaves didn't deploy, or whose container image is named by tag are left out.
    """
    for one in cluster.list(REVISION, selector=f"{SERVICE_LABEL}={app}") if names else ():
        labels = one["metadata"].get("labels") or {}
        if one["metadata"]["name"] not in names or labels.get(MANAGED_LABEL) != MANAGED_VALUE:
            continue
        image = _image(one)
        if "@sha256:" in image:
            yield image, one


def _image(one: Manifest) -> str:
    """Return the function's container image in a revision or in a revision's template; empty when it has none."""
    containers = one["spec"].get("containers") or []
    return next((str(each.get("image")) for each in containers if each.get("name") == CONTAINER), "")


def _remove_listed(cluster: Cluster, service: Manifest, pins: Sequence[Manifest]) -> list[ApplyResult]:
    """Remove the given pins that the inventory lists; remove none while a deploy has yet to apply its revision."""
    inventory = read_inventory(cluster, str(service["metadata"]["name"]))
    if inventory.deployment is not None and inventory.deployment.image != _image(service["spec"]["template"]):
        return []
    by_uid = {item.uid: item for item in inventory.items if item.uid}
    removed: list[InventoryItem] = []
    for one in pins:
        item = by_uid.get(str(one["metadata"].get("uid")))
        if item is None or item.kind != item_kind(DAEMON_SET):
            continue
        cluster.delete(DAEMON_SET, item.name, uid=item.uid)
        removed.append(item)
    if removed:
        _unlist(cluster, inventory, removed)
    return [ApplyResult(kind=DAEMON_SET.kind, name=item.name, outcome=REMOVED) for item in removed]


def _unlist(cluster: Cluster, inventory: Inventory, removed: Collection[InventoryItem]) -> None:
    """Remove objects from the inventory's list; try again when another process changes the inventory at the same time.

    The objects are found by their UIDs, which are unique for all time.
    """
    for _ in range(ATTEMPTS):
        kept = tuple(item for item in inventory.items if item not in removed)
        if kept == inventory.items:
            return
        with suppress(ConflictError):
            write_inventory(cluster, replace(inventory, items=kept))
            return
        inventory = read_inventory(cluster, inventory.app)
