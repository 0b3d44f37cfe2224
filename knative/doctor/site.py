"""The input of all checks: a cluster, and the objects that an app would have there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from eaves.errors import ConfigError, Fault
from knative.client.cluster import Cluster
from knative.client.kinds import CONFIG_MAP, KSERVICE, NODE, ObjectKind, kind_of
from knative.resources.metadata import labels_of
from knative.resources.rendering import render_app
from knative.settings import ClusterApp, KnativeSettings

SERVING_NAMESPACE, EVENTING_NAMESPACE = "knative-serving", "knative-eventing"
_ANY_IMAGE = "example.invalid/none@sha256:" + 64 * "0"
"""Placeholder for the function's container image when eaves.yaml names none, so that the other settings can be
checked."""


@dataclass(kw_only=True)
class ExaminedSite:
    """A site's cluster and an app that would be deployed there.

    Attributes:
        cluster: Connection to the site's cluster.
        app: The app that would be deployed; its function may have no container image yet.
            When the app's site names no namespace, it becomes the one of the connection.
        platforms: Function that asks a registry for the architectures of a container image; it raises OciError. None
            asks no registry.
        trains_in: Namespace of this cluster where trainings run; empty when none run in it.
        manifests: Every object that `deploy` would apply; none when eaves.yaml has faults.
        faults: Faults of eaves.yaml for this site; a missing container image of the function doesn't count.
    """

    cluster: Cluster
    app: ClusterApp
    platforms: Callable[[str], set[str]] | None = None
    trains_in: str = ""
    manifests: tuple[dict[str, Any], ...] = ()
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        """Render the app's objects."""
        site = self.app.site
        self.app = replace(self.app, site=replace(site, namespace=site.namespace or self.cluster.namespace))
        try:
            self.manifests = render_app(replace(self.app, image=self.app.image or _ANY_IMAGE))
        except ConfigError as found:
            self.faults = found.faults

    @property
    def namespace(self) -> str:
        """Namespace of the app."""
        return self.app.site.namespace

    @property
    def settings(self) -> KnativeSettings:
        """Settings of the app's objects."""
        return self.app.knative

    def config(self, name: str, namespace: str = SERVING_NAMESPACE) -> Mapping[str, str]:
        """Read the values of a ConfigMap; they are empty when it doesn't exist."""
        return (self.cluster.get(CONFIG_MAP, name, namespace=namespace) or {}).get("data") or {}

    @cached_property
    def edge(self) -> list[dict[str, Any]]:
        """The nodes that the function's selector chooses."""
        wanted = dict(self.function_pod.get("nodeSelector") or {}).items()
        nodes = self.cluster.list(NODE, namespace="")
        return [node for node in nodes if wanted <= labels_of(node).items()]

    @property
    def function_pod(self) -> Mapping[str, Any]:
        """Spec of the function's pod; empty when eaves.yaml has faults."""
        return next((spec for kind, spec in self.pods() if kind == KSERVICE.kind), {})

    def kinds(self) -> Iterator[tuple[ObjectKind, str]]:
        """Yield each kind of object that a deploy would apply, with its namespace."""
        seen = {(kind_of(one), str(one["metadata"].get("namespace", ""))) for one in self.manifests}
        yield from sorted(
            ((kind, (namespace or self.namespace) if kind.namespaced else "") for kind, namespace in seen),
            key=lambda found: (found[1], found[0].plural),
        )

    def pods(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the spec of every pod that a deployment of the app would create, after the kind of its object."""
        for one in self.manifests:
            if spec := one.get("spec", {}).get("template", {}).get("spec"):
                yield one["kind"], spec
