"""Which container images of an app are pinned: what serves, what may get a share, and what a rollback returns to.

`render` shows the pin of the container image that it renders. A deploy applies with it the pins of the other revisions
that are needed, so that they stay, or come where they are missing; it removes a pin once no such revision has its
container image.
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
from knative.resources.fields.labels import (
    APP_LABEL,
    MANAGED_LABEL,
    MANAGED_VALUE,
    PART_LABEL,
    PIN_ANNOTATION,
    PIN_LABEL,
)
from knative.resources.function import CONTAINER
from knative.resources.pin import PART, build_image_pin, is_pin, is_pin_name, pin_name
from knative.rollout.pinning import parse_pin
from knative.rollout.rollout_status import RolloutStatus, parse_rollout_status
from knative.specs import ClusterApp

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

Manifest = Mapping[str, Any]
SERVICE_LABEL = "serving.knative.dev/service"
"""Source: knative/serving, pkg/apis/serving/register.go."""


def add_pins(cluster: Cluster, manifests: Sequence[Manifest], app: ClusterApp) -> tuple[Manifest, ...]:
    """What `render` returned, with the pins of other revisions that have a share or that a rollback returns to.

    Args:
        cluster: Connection to the cluster of the site.
        manifests: What `render` returned for the app. With `knative.pin: no` no pin is among them, and none is added.
        app: The app.

    Raises:
        ClusterError: When the cluster refuses or fails.
    """
    pinned = any(is_pin(one) for one in manifests)
    return add_pins_of(cluster, manifests, app, cluster.get(KSERVICE, app.function.name) if pinned else None)


def add_pins_of(
    cluster: Cluster, manifests: Sequence[Manifest], app: ClusterApp, service: Manifest | None
) -> tuple[Manifest, ...]:
    """The same as `add_pins`, for a Knative Service that was read already; None: there is none.

    Raises:
        ClusterError: When the cluster refuses or fails.
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
            secrets = revision["spec"].get("imagePullSecrets")
            made[name] = build_image_pin(
                app,
                str(pin["metadata"].get("namespace", "")),
                image=image,
                selector=selector,
                pull_secrets={"imagePullSecrets": secrets} if secrets else {},
            )
    first = list(manifests).index(pin)
    return (*manifests[:first], *(made[name] for name in sorted(made)), *manifests[first:])


def names_of_pins(manifests: Sequence[Manifest]) -> set[str]:
    """Names of the pins among the objects of an app."""
    return {str(one["metadata"]["name"]) for one in manifests if is_pin(one)}


def keep_pins(app: str, manifests: Sequence[Manifest]) -> Callable[[InventoryItem], bool]:
    """Which objects of an app's inventory a deploy leaves to `prune_pins`: its pins, while it has any.

    Args:
        app: Name of the app.
        manifests: What the deploy applies.
    """
    pinned = any(is_pin(one) for one in manifests)
    return lambda item: pinned and item.kind == item_kind(DAEMON_SET) and is_pin_name(app, item.name)


def listed_pins(inventory: Inventory) -> set[str]:
    """Names of the pins that an app's inventory lists; no others are ever removed."""
    items = (item for item in inventory.items if item.kind == item_kind(DAEMON_SET))
    return {item.name for item in items if is_pin_name(inventory.app, item.name)}


def find_served(standing: RolloutStatus) -> set[str]:
    """Revisions that answer requests, or that `rollback` gives all of them. Pure.

    Args:
        standing: What the Knative Service says.
    """
    state = standing.current
    found = {*standing.shares, standing.preview, standing.other}
    if state is not None:
        found |= {state.old, state.new if state.served else ""}
    elif standing.state is not None:
        found.add(standing.state.serving)
    return found - {""}


def prune_pins(cluster: Cluster, app: str, *, keep: Collection[str] = ()) -> list[ApplyResult]:
    """Remove the pins of an app that no revision needs any more. Whoever may not see or delete them leaves them.

    A pin that isn't in the app's inventory stays, and so does one that somebody made anew under its name. All stay
    where the inventory is damaged, and while a deploy is under way, which may want one of them again.

    Args:
        cluster: Connection to the cluster.
        app: Name of the app.
        keep: Names of pins that are known to be needed.

    Raises:
        ClusterError: When the cluster fails.
    """
    with suppress(DeniedError, ConflictError, InvalidError):
        pins = cluster.list(DAEMON_SET, selector=f"{APP_LABEL}={app},{PART_LABEL}={PART}")
        left = [one for one in pins if one["metadata"]["name"] not in keep]
        service = cluster.get(KSERVICE, app) if left else None
        current = (service or {"metadata": {}})["metadata"].get("annotations", {}).get(PIN_ANNOTATION)
        if service is None or not current:
            return []  # the app is being removed, or an older Eaves deployed it and knows one pin only
        needed = {current, *_needed_pins(cluster, app, parse_rollout_status(service))}
        unneeded = [one for one in left if one["metadata"]["name"] not in needed]
        if not all(_is_complete(one) for one in pins if one["metadata"]["name"] in needed):
            unneeded = [one for one in unneeded if not _is_of_all_images(one)]
        return _remove_listed(cluster, service, unneeded) if unneeded else []
    return []


def _needed_pins(cluster: Cluster, app: str, standing: RolloutStatus) -> Iterator[str]:
    revisions = find_served(standing) | {standing.newest}
    for image, revision in _images(cluster, app, revisions):
        yield pin_name(app, image, revision["spec"].get("nodeSelector") or {})


def _images(cluster: Cluster, app: str, names: Collection[str]) -> Iterator[tuple[str, Manifest]]:
    """(container image by digest, revision) of those revisions that are there and that Eaves deployed."""
    for one in cluster.list(REVISION, selector=f"{SERVICE_LABEL}={app}") if names else ():
        labels = one["metadata"].get("labels") or {}
        if one["metadata"]["name"] not in names or labels.get(MANAGED_LABEL) != MANAGED_VALUE:
            continue
        image = _image(one)
        if "@sha256:" in image:
            yield image, one


def _image(one: Manifest) -> str:
    """The container image of the function in a revision, or in the template of one; empty when it has none."""
    containers = one["spec"].get("containers") or []
    return next((str(each.get("image")) for each in containers if each.get("name") == CONTAINER), "")


def _is_of_all_images(pin: Manifest) -> bool:
    """Whether an Eaves made it that had one pin for an app, which held the newest container image."""
    return PIN_LABEL not in (pin["metadata"].get("labels") or {})


def _is_complete(pin: Manifest) -> bool:
    return parse_pin(pin, str(pin["spec"]["template"]["spec"]["containers"][0].get("image", ""))).complete


def _remove_listed(cluster: Cluster, service: Manifest, pins: Sequence[Manifest]) -> list[ApplyResult]:
    """Remove those of the pins that the inventory lists; none while a deploy has yet to apply its revision."""
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
    """Take removed objects off the list, whoever changes the inventory meanwhile: no object gets a UID again."""
    for _ in range(ATTEMPTS):
        kept = tuple(item for item in inventory.items if item not in removed)
        if kept == inventory.items:
            return
        with suppress(ConflictError):
            write_inventory(cluster, replace(inventory, items=kept))
            return
        inventory = read_inventory(cluster, inventory.app)
