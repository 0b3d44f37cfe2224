"""Names and labels of objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knative.client.kinds import ObjectKind
from knative.resources.fields.labels import labels
from knative.settings import SiteSettings
from knative.specs import ClusterApp


def build_object(
    kind: ObjectKind,
    name: str,
    app: ClusterApp,
    site: SiteSettings,
    part: str,
    *,
    annotations: Mapping[str, str] | None = None,
    more_labels: Mapping[str, str] | None = None,
    namespace: str | None = None,
) -> dict[str, Any]:
    """An object without its spec.

    Args:
        kind: Of it.
        name: Of it.
        app: That it belongs to.
        site: That it is for; its namespace is left out where the site names none, so that kubectl's `-n` decides.
        part: What it is there for, `knative.resources.fields.labels.PART_LABEL`.
        annotations: Of it.
        more_labels: Besides those that every object carries.
        namespace: In place of the site's.
    """
    metadata: dict[str, Any] = {"name": name}
    where = site.namespace if namespace is None else namespace
    if where and kind.namespaced:
        metadata["namespace"] = where
    metadata["labels"] = {**labels(app.function.name, app.function.site, part), **(more_labels or {})}
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}


def reference(kind: ObjectKind, name: str, namespace: str = "") -> dict[str, str]:
    """A reference to an object."""
    found = {"apiVersion": kind.api_version, "kind": kind.kind, "name": name}
    return {**found, "namespace": namespace} if namespace else found
