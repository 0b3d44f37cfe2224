"""Deploys with pins in the tests: container images one after the other, and which of them the nodes hold."""

from __future__ import annotations

from typing import Any

from knative.client.cluster import Cluster
from knative.deploy.site_update import SiteDeployment, SiteUpdate, update_site
from knative.settings import KnativeSettings, RolloutSettings, SiteSettings
from tests.cluster.apps import IMAGE, plain_app
from tests.cluster.deploys import HOME, SITE
from tests.fakes.kubernetes.apiserver import FakeCluster

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
    pod: dict[str, Any] | None = None,
) -> SiteUpdate:
    """Deploy a container image."""
    app, knative = plain_app(image=image, env=env or {}), KnativeSettings(pin=pin, pod=pod or {})
    wanted = SiteDeployment(app=app, knative=knative, rollout=SETTINGS, ready_s=ready_s)
    return update_site(cluster, site, wanted)


def pinned(server: FakeCluster) -> set[str]:
    """Container images that pins hold on the nodes."""
    return {image_of(one) for one in server.all(PIN_KIND, namespace=HOME)}


def image_of(pin: dict[str, Any]) -> str:
    """Container image that a pin holds."""
    return str(pin["spec"]["template"]["spec"]["containers"][0]["image"])


def names(server: FakeCluster) -> set[str]:
    """Names of the pins."""
    return {one["metadata"]["name"] for one in server.all(PIN_KIND, namespace=HOME)}
