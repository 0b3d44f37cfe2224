"""What `deploy` would change, line by line: the server's own answer to a dry run against what is there."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml

from knative.kinds import kind_of
from knative.names import MANAGER

if TYPE_CHECKING:
    from knative.cluster import Cluster

_OF_THE_SERVER = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")
_COUNTED = "deprecated.daemonset.template.generation"


def diff_app(cluster: Cluster, manifests: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A unified diff of every object that would change; nothing where nothing would.

    Fields that others own are shown as they would be once taken over.

    Raises:
        ClusterError: When the cluster refuses or fails.
    """
    for manifest in manifests:
        kind, name = kind_of(manifest), str(manifest["metadata"]["name"])
        before = cluster.get(kind, name, namespace=manifest["metadata"].get("namespace"))
        after = cluster.apply(manifest, manager=MANAGER, force=True, dry_run=True)
        label = f"{kind.kind.lower()}/{name}"
        yield from difflib.unified_diff(
            _lines(before), _lines(after), f"{label} (there)", f"{label} (rendered)", lineterm=""
        )


def content(one: Mapping[str, Any]) -> dict[str, Any]:
    """An object without what the server counts and controllers report: what somebody wants it to be."""
    metadata = {key: value for key, value in one["metadata"].items() if key not in _OF_THE_SERVER}
    annotations = {key: value for key, value in (metadata.pop("annotations", None) or {}).items() if key != _COUNTED}
    metadata |= {"annotations": annotations} if annotations else {}
    return {**{key: value for key, value in one.items() if key != "status"}, "metadata": metadata}


def _lines(one: Mapping[str, Any] | None) -> list[str]:
    if one is None:
        return []
    return str(yaml.safe_dump(content(one), sort_keys=True, allow_unicode=True, width=10_000)).splitlines()
