"""Differences that a deploy would make: each existing object is compared with the API server's answer to a dry run."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml

from knative.client.kinds import NAMESPACE, kind_of
from knative.deploy.objects.inventory import InventoryItem
from knative.deploy.objects.labelled_objects import AppOwner, key_of
from knative.deploy.objects.name_conflicts import is_satisfied
from knative.deploy.objects.ownership import find_holdings, kind_named
from knative.resources.metadata import MANAGER

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

_OF_THE_SERVER = (
    *("creationTimestamp", "finalizers", "generation", "managedFields", "resourceVersion", "selfLink", "uid"),
)
_COUNTED = "deprecated.daemonset.template.generation"


def diff_app(
    cluster: Cluster,
    manifests: Sequence[Mapping[str, Any]],
    owner: AppOwner,
    *,
    needed: Callable[[InventoryItem], bool] = lambda item: False,
) -> Iterator[str]:
    """Yield a unified diff of every object that would be changed, created or deleted.

    Fields that other managers own are shown with the values that they would get if they were taken over.

    Args:
        cluster: Connection to the cluster, in the app's namespace.
        manifests: The app's rendered objects.
        owner: The app.
        needed: Function that says whether an object of the inventory must stay although it isn't rendered, such as a
            pin.

    Raises:
        InvalidError: When the cluster refuses an object.
        ClusterError: When a request to the cluster is refused or fails.
    """
    holdings = find_holdings(cluster, manifests, owner, needed=needed)
    absent: set[str] = set()
    for manifest in manifests:
        kind, metadata = kind_of(manifest), manifest["metadata"]
        before = holdings.known.get(key_of(manifest, cluster))
        if before is not None and kind is NAMESPACE and is_satisfied(manifest, before):
            continue
        if kind is NAMESPACE and before is None:
            absent.add(metadata["name"])
        if metadata.get("namespace") in absent:
            yield from _changes(None, manifest)  # a dry run can't validate an object in a namespace that doesn't exist
        else:
            yield from _changes(before, cluster.apply(manifest, manager=MANAGER, force=True, dry_run=True))
    for item in holdings.left:
        one = cluster.get(kind_named(item), item.name, namespace=item.namespace)
        if one is not None and item.uid in {"", one["metadata"]["uid"]}:
            yield from _changes(one, None)


def content(one: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an object that users set, without the metadata and the status that the cluster writes."""
    metadata = {key: value for key, value in one["metadata"].items() if key not in _OF_THE_SERVER}
    annotations = {key: value for key, value in (metadata.pop("annotations", None) or {}).items() if key != _COUNTED}
    metadata |= {"annotations": annotations} if annotations else {}
    return {**{key: value for key, value in one.items() if key != "status"}, "metadata": metadata}


def _changes(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Iterator[str]:
    one = before or after or {}
    label = f"{str(one['kind']).lower()}/{one['metadata']['name']}"
    lines = _lines(before), _lines(after)
    yield from difflib.unified_diff(*lines, f"{label} (there)", f"{label} (rendered)", lineterm="")


def _lines(one: Mapping[str, Any] | None) -> list[str]:
    if one is None:
        return []
    return str(yaml.safe_dump(content(one), sort_keys=True, allow_unicode=True, width=10_000)).splitlines()
