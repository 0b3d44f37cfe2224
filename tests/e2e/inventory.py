"""Everything that is in a cluster, whatever its kind: to see that nothing is left."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from knative.client.cluster import Cluster
from knative.client.transport import ApiRequest

_LEFT_OUT = ("events", "componentstatuses", "endpoints")
"""What happened, which a cluster forgets by itself; what is no object; what EndpointSlices tell."""

PAUSE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Resource:
    path: str
    plural: str
    kind: str


def list_objects(cluster: Cluster, namespace: str) -> set[str]:
    """`Kind/name` of every object in a namespace but the ConfigMaps that Kubernetes puts into each."""
    found = set()
    for resource in _resources(cluster, namespaced=True):
        for one in _items(cluster, f"{resource.path}/namespaces/{namespace}/{resource.plural}"):
            if resource.kind != "ConfigMap" or not _is_kubernetes(one):
                found.add(f"{resource.kind}/{one['metadata']['name']}")
    return found


def wait_for_objects(cluster: Cluster, wanted: set[str]) -> None:
    """Wait until a namespace holds just these."""

    def difference() -> str:
        there = list_objects(cluster, cluster.namespace)
        return f"too many: {sorted(there - wanted)}, missing: {sorted(wanted - there)}" if there != wanted else ""

    deadline = time.monotonic() + 240
    while reported := difference():
        assert time.monotonic() < deadline, reported
        time.sleep(PAUSE_S)


def find_outside(cluster: Cluster, text: str) -> set[str]:
    """`Kind/name` of every object outside of namespaces that says this anywhere."""
    found = set()
    for resource in _resources(cluster, namespaced=False):
        for one in _items(cluster, f"{resource.path}/{resource.plural}"):
            if resource.kind == "Node":
                one.get("status", {}).pop("images", None)  # a node keeps what it has pulled until its disk is full
            if text in json.dumps(one):
                found.add(f"{resource.kind}/{one['metadata']['name']}")
    return found


def _resources(cluster: Cluster, *, namespaced: bool) -> Iterator[_Resource]:
    groups = _ask(cluster, "/apis")["groups"]
    for path in ("/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups)):
        for one in _ask(cluster, path)["resources"]:
            listed = "list" in one["verbs"] and "/" not in one["name"] and one["name"] not in _LEFT_OUT
            if listed and one["namespaced"] == namespaced:
                yield _Resource(path=path, plural=one["name"], kind=one["kind"])


def _items(cluster: Cluster, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = _ask(cluster, path).get("items") or []
    return items


def _is_kubernetes(one: dict[str, Any]) -> bool:
    return any(entry.get("manager") == "kube-controller-manager" for entry in one["metadata"].get("managedFields", ()))


def _ask(cluster: Cluster, path: str) -> dict[str, Any]:
    transport = cluster._transport
    return transport.json(ApiRequest(call=transport.call, path=path, headers={"Accept": "application/json"}))
