"""Everything that is in a cluster, whatever its kind: to see that nothing is left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from knative.cluster import Cluster
from knative.transport import Request

_LEFT_OUT = ("events", "componentstatuses", "endpoints")
"""What happened, which a cluster forgets by itself; what is no object; what EndpointSlices tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Resource:
    path: str
    plural: str
    kind: str
    namespaced: bool


def list_objects(cluster: Cluster, namespace: str) -> set[str]:
    """`Kind/name` of every object in a namespace."""
    found = set()
    for resource in _resources(cluster):
        if resource.namespaced:
            for one in _items(cluster, f"{resource.path}/namespaces/{namespace}/{resource.plural}"):
                found.add(f"{resource.kind}/{one['metadata']['name']}")
    return found


def find_outside(cluster: Cluster, text: str) -> set[str]:
    """`Kind/name` of every object outside of namespaces that says this anywhere."""
    found = set()
    for resource in _resources(cluster):
        if not resource.namespaced:
            for one in _items(cluster, f"{resource.path}/{resource.plural}"):
                if text in json.dumps(one):
                    found.add(f"{resource.kind}/{one['metadata']['name']}")
    return found


def _resources(cluster: Cluster) -> Iterator[_Resource]:
    groups = _ask(cluster, "/apis")["groups"]
    for path in ("/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups)):
        for one in _ask(cluster, path)["resources"]:
            if "list" in one["verbs"] and "/" not in one["name"] and one["name"] not in _LEFT_OUT:
                yield _Resource(path=path, plural=one["name"], kind=one["kind"], namespaced=one["namespaced"])


def _items(cluster: Cluster, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = _ask(cluster, path).get("items") or []
    return items


def _ask(cluster: Cluster, path: str) -> dict[str, Any]:
    transport = cluster._transport
    return transport.json(Request(call=transport.call, path=path, headers={"Accept": "application/json"}))
