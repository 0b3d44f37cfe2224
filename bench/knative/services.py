"""Knative Services of the benchmark, in a namespace of their own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eaves.platform import ScaleSettings
from knative.client.cluster import Cluster, open_cluster
from knative.client.kinds import KSERVICE, NAMESPACE
from knative.readiness.wait import wait_ready, wait_routed
from knative.resources.function import build_function
from knative.settings import KnativeSettings, SiteSettings
from knative.specs import ClusterApp, ClusterFunction

MANAGER = "eaves-bench"
FLOOR = "floor"
IDLE_S = 6.0
"""Window in seconds; the shortest that Knative allows."""
READY_S = 300.0


@contextmanager
def open_namespace(kubeconfig: Path | None, context: str) -> Iterator[Cluster]:
    """Make a namespace, and delete it at the end."""
    name = f"eaves-bench-{secrets.token_hex(3)}"
    cluster = open_cluster(kubeconfig=kubeconfig, context=context, namespace=name)
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, manager=MANAGER)
    try:
        yield cluster
    finally:
        cluster.delete(NAMESPACE, name)


def deploy(cluster: Cluster, images: Mapping[str, str], floor_image: str, settings: KnativeSettings) -> list[str]:
    """Apply the functions as `eaves deploy` does, and the floor; wait until each has been ready; return their names."""
    site = SiteSettings(name="bench", namespace=cluster.namespace)
    manifests = []
    for name, image in images.items():
        scale = ScaleSettings(min=0, max=1, idle_s=IDLE_S)
        function = ClusterFunction(name=name, image=image, scale=scale, site=site.name, env={"EAVES_TIMING": "yes"})
        manifests.append(build_function(ClusterApp(function=function), settings, site))
    if floor_image:
        manifests.append(_build_floor(manifests[0], floor_image))
    for manifest in manifests:
        cluster.apply(manifest, manager=MANAGER)
    names = [str(manifest["metadata"]["name"]) for manifest in manifests]
    for name in names:
        wait_ready(cluster, name, timeout_s=READY_S)
        wait_routed(cluster, name)
    return names


def _build_floor(function: Mapping[str, Any], image: str) -> dict[str, Any]:
    """Build the floor: the scaling, requests and limits of a function, but Knative's own probe and no volume."""
    template = function["spec"]["template"]
    (container,) = template["spec"]["containers"]
    kept = {name: container[name] for name in ("name", "ports", "resources", "securityContext")}
    labels = function["metadata"].get("labels", {})
    spec = {"containerConcurrency": 1, "enableServiceLinks": False, "containers": [{**kept, "image": image}]}
    return {
        "apiVersion": KSERVICE.api_version,
        "kind": KSERVICE.kind,
        "metadata": {"name": FLOOR, "labels": {**labels, "app.kubernetes.io/name": FLOOR}},
        "spec": {"template": {"metadata": {"annotations": template["metadata"]["annotations"]}, "spec": spec}},
    }
