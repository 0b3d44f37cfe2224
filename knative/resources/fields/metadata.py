"""Builders of the metadata of objects, and of references to objects."""

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
    """Build an object with its metadata, without a spec.

    Args:
        kind: Kind of the object.
        name: Name of the object.
        app: App that the object belongs to.
        site: Site of the object. If the site has no namespace, the object has none, so that kubectl's `-n` decides.
        part: Part of the app, the value of `knative.resources.fields.labels.PART_LABEL`.
        annotations: Annotations of the object.
        more_labels: Labels besides those that every object carries.
        namespace: Namespace instead of the site's.
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
    """Build a reference to an object by kind, name and namespace."""
    found = {"apiVersion": kind.api_version, "kind": kind.kind, "name": name}
    return {**found, "namespace": namespace} if namespace else found
