"""Deploys with pins in the tests: container images one after the other, and which of them the nodes hold."""

from typing import Any

from eaves.rollout import RolloutSettings
from knative.client.cluster import Cluster
from knative.deploy.site_update import SiteUpdate
from knative.settings import KnativeSettings
from tests.cluster import deploys
from tests.cluster.apps import IMAGE
from tests.cluster.deploys import HOME
from tests.fakes.kubernetes.apiserver import FakeCluster

SETTINGS = RolloutSettings(steps=("10", "50"), step_s=60.0, deadline_s=600.0, min_requests=4)
IMAGES = [IMAGE, *("registry.example/barn/flowers@sha256:" + f"{number:08x}" + "e" * 56 for number in range(1, 25))]
PIN_KIND = "apps/v1/DaemonSet"


def update(
    cluster: Cluster, image: str = IMAGE, *, pin: bool = True, pod: dict[str, Any] | None = None, **how: Any
) -> SiteUpdate:
    """Deploy a container image, whose rollout takes two steps."""
    knative = KnativeSettings(pin=pin, pod=pod or {})
    return deploys.update(cluster, image, knative=knative, rollout=SETTINGS, **how)


def pinned(server: FakeCluster) -> set[str]:
    """Container images that pins hold on the nodes."""
    return {image_of(one) for one in server.all(PIN_KIND, namespace=HOME)}


def image_of(pin: dict[str, Any]) -> str:
    """Container image that a pin holds."""
    return str(pin["spec"]["template"]["spec"]["containers"][0]["image"])


def names(server: FakeCluster) -> set[str]:
    """Names of the pins."""
    return {one["metadata"]["name"] for one in server.all(PIN_KIND, namespace=HOME)}
