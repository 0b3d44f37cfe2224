"""Deploys with pins in the tests: container images one after the other, and which of them the nodes hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from knative.cluster import Cluster
from knative.deploy.inventory import Item, item_kind, read_inventory, write_inventory
from knative.kinds import DAEMON_SET
from knative.settings import KnativeSettings, RolloutSettings, SiteSettings
from knative.update import Updated, Wanted, update_site
from tests.apps import IMAGE, NAME, plain_app
from tests.deploys import HOME, SITE
from tests.fakes.apiserver import FakeCluster

SETTINGS = RolloutSettings(steps=("10", "50"), step_s=60.0, deadline_s=600.0, min_requests=4)
IMAGES = [IMAGE, *("registry.example/barn/flowers@sha256:" + f"{number:08x}" + "e" * 56 for number in range(1, 25))]
PIN_KIND = "apps/v1/DaemonSet"


def update(
    cluster: Cluster,
    image: str = IMAGE,
    *,
    ready_s: float = 10.0,
    pin: bool = True,
    site: SiteSettings = SITE,
    env: dict[str, str] | None = None,
) -> Updated:
    """Deploy a container image, and list the pins in the inventory as a deploy does."""
    app = plain_app(image=image, env=env or {})
    wanted = Wanted(app=app, knative=KnativeSettings(pin=pin), rollout=SETTINGS, ready_s=ready_s)
    updated = update_site(cluster, site, wanted)
    list_pins(cluster)
    return updated


def list_pins(cluster: Cluster) -> None:
    """Put every DaemonSet into the inventory."""
    inventory = read_inventory(cluster, NAME)
    others = [item for item in inventory.items if item.kind != item_kind(DAEMON_SET)]
    made = [
        Item(kind=item_kind(DAEMON_SET), name=one["metadata"]["name"], namespace=HOME, uid=one["metadata"]["uid"])
        for one in cluster.list(DAEMON_SET)
    ]
    write_inventory(cluster, replace(inventory, items=(*others, *made)))


def pinned(server: FakeCluster) -> set[str]:
    """Container images that pins hold on the nodes."""
    return {image_of(one) for one in server.all(PIN_KIND, namespace=HOME)}


def image_of(pin: dict[str, Any]) -> str:
    """Container image that a pin holds."""
    return str(pin["spec"]["template"]["spec"]["containers"][0]["image"])


def names(server: FakeCluster) -> set[str]:
    """Names of the pins."""
    return {one["metadata"]["name"] for one in server.all(PIN_KIND, namespace=HOME)}
