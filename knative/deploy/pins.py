"""Pins of container images on nodes: those of an app's revisions that have traffic or may get it, also by a rollback.

`render` shows the pin of the container image that it renders, and a deploy applies that one. The pins of earlier
deploys stay until no revision that serves, or that a rollback returns to, needs them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from eaves.errors import ConflictError, DeniedError, InvalidError
from knative.client.kinds import KSERVICE, REVISION
from knative.deploy.inventory import Inventory, read_inventory
from knative.deploy.ownership import ApplyResult, is_ours, is_pin_item, remove_items
from knative.readiness.conditions import image_of
from knative.resources.metadata import PIN_ANNOTATION
from knative.resources.pin import pin_name
from knative.rollout import parse_rollout_status

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

SERVICE_LABEL = "serving.knative.dev/service"
"""Label of a Revision with its Service. Source: knative/serving, pkg/apis/serving/register.go."""


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
        pins = [item for item in inventory.items if is_pin_item(app, item)]
        service = cluster.get(KSERVICE, app) if len(pins) > 1 else None  # the newest revision needs one
        if service is None or not service["metadata"].get("annotations", {}).get(PIN_ANNOTATION):
            return []  # one pin is needed by the newest revision; without one, the app is being removed
        if inventory.deployment is not None and inventory.deployment.image != image_of(service):
            return []  # a deploy has yet to apply its revision
        needed = {service["metadata"]["annotations"][PIN_ANNOTATION], *_needed_pins(cluster, app, service)}
        return remove_items(cluster, inventory, [item for item in pins if item.name not in needed])
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
