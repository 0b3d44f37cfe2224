"""The input of all checks: a cluster, and the objects that an app would have there. Each value is read only once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from eaves.errors import ConfigError, Fault
from knative.client.kinds import CONFIG_MAP, DEPLOYMENT, KSERVICE, NODE, ObjectKind, kind_of
from knative.resources.reachability_pod import Destination, find_destinations
from knative.resources.rendering import render_app
from knative.settings import KnativeSettings, SiteSettings
from knative.specs import ClusterApp

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

SERVING_NAMESPACE, EVENTING_NAMESPACE = "knative-serving", "knative-eventing"
_ANY_IMAGE = "example.invalid/none@sha256:" + 64 * "0"
"""Placeholder for the function's container image when eaves.yaml names none, so that the other settings can be
checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPod:
    """A pod that a deploy would make.

    Attributes:
        by: Kind and name of the object that makes the pod.
        namespace: Namespace of the pod.
        spec: Spec of the pod.
        knative: Whether Knative adds its sidecar.
    """

    by: str
    namespace: str
    spec: Mapping[str, Any]
    knative: bool = False


class ExaminedSite:
    """A site's cluster and an app that would be deployed there.

    Args:
        cluster: Connection to the site's cluster.
        app: The app that would be deployed.
        settings: Settings of the app's objects on the cluster.
        site: The site.
        clock: Function that returns this machine's Unix time in seconds.
        may_probe: Whether the reachability pod may be created, which tries the app's addresses.
        probe_wait_s: Maximum seconds to wait until the reachability pod is scheduled, has pulled its container image,
            and has tried the addresses.
        trains_in: Namespace of this cluster where trainings run; empty when none run in it.
    """

    def __init__(
        self,
        cluster: Cluster,
        app: ClusterApp,
        settings: KnativeSettings,
        site: SiteSettings,
        *,
        clock: Callable[[], float] = time.time,
        may_probe: bool = True,
        probe_wait_s: float = 60.0,
        trains_in: str = "",
    ) -> None:
        self.cluster, self.app, self.settings, self.clock = cluster, app, settings, clock
        self.may_probe, self.probe_wait_s, self.trains_in = may_probe, probe_wait_s, trains_in
        self.namespace = site.namespace or cluster.namespace
        self.site = replace(site, namespace=self.namespace)
        self._configs: dict[tuple[str, str], dict[str, Any] | None] = {}
        self._deployments: dict[str, list[dict[str, Any]]] = {}

    def config(self, name: str, namespace: str = SERVING_NAMESPACE) -> Mapping[str, str]:
        """Read the values of a ConfigMap; they are empty when it doesn't exist.

        Raises:
            ClusterError: When the ConfigMap can't be read.
        """
        key = (namespace, name)
        if key not in self._configs:
            self._configs[key] = self.cluster.get(CONFIG_MAP, name, namespace=namespace)
        return (self._configs[key] or {}).get("data") or {}

    def deployments(self, namespace: str) -> list[dict[str, Any]]:
        """Read the Deployments of a namespace.

        Raises:
            ClusterError: When the Deployments can't be read.
        """
        if namespace not in self._deployments:
            self._deployments[namespace] = self.cluster.list(DEPLOYMENT, namespace=namespace)
        return self._deployments[namespace]

    @cached_property
    def nodes(self) -> list[dict[str, Any]]:
        """Nodes of the cluster.

        Raises:
            ClusterError: When the nodes can't be read.
        """
        return self.cluster.list(NODE, namespace="")

    @cached_property
    def edge(self) -> list[dict[str, Any]]:
        """The nodes that may run the function."""
        wanted = self.site.selector.items()
        return [node for node in self.nodes if wanted <= (node["metadata"].get("labels") or {}).items()]

    @cached_property
    def image(self) -> str:
        """Container image of the function that eaves.yaml names, or else the deployed one; empty when there is neither.

        Raises:
            ClusterError: When a request to the cluster is refused or fails.
        """
        if self.app.function.image:
            return self.app.function.image
        there = self.cluster.get(KSERVICE, self.app.function.name, namespace=self.namespace) or {}
        containers = there.get("spec", {}).get("template", {}).get("spec", {}).get("containers") or [{}]
        return str(containers[0].get("image", ""))

    @cached_property
    def faults(self) -> tuple[Fault, ...]:
        """Faults that prevent eaves.yaml from being deployed to a cluster; a missing container image doesn't count."""
        return self._rendered[1]

    @cached_property
    def manifests(self) -> tuple[dict[str, Any], ...]:
        """Every object that `deploy` would apply; none when eaves.yaml has faults."""
        return self._rendered[0]

    @cached_property
    def destinations(self) -> tuple[Destination, ...]:
        """Every address that the app's sources and MQTT triggers connect to."""
        return tuple(dict.fromkeys(find_destinations(self.app)))

    @cached_property
    def _rendered(self) -> tuple[tuple[dict[str, Any], ...], tuple[Fault, ...]]:
        function = self.app.function
        app = self.app if function.image else replace(self.app, function=replace(function, image=_ANY_IMAGE))
        try:
            return render_app(app, self.settings, self.site), ()
        except ConfigError as found:
            return (), found.faults

    def kinds(self) -> Iterator[tuple[ObjectKind, str]]:
        """Yield each kind of object that a deploy would apply, with its namespace."""
        seen = {(kind_of(one), str(one["metadata"].get("namespace", ""))) for one in self.manifests}
        yield from sorted(
            ((kind, (namespace or self.namespace) if kind.namespaced else "") for kind, namespace in seen),
            key=lambda found: (found[1], found[0].plural),
        )

    def pods(self) -> Iterator[PlannedPod]:
        """Yield every pod that a deployment of the app would create."""
        for one in self.manifests:
            spec = one.get("spec", {}).get("template", {}).get("spec")
            if spec:
                namespace = str(one["metadata"].get("namespace") or self.namespace)
                by = f"{one['kind']} {one['metadata']['name']}"
                knative = str(one["apiVersion"]).startswith("serving.knative.dev/")
                yield PlannedPod(by=by, namespace=namespace, spec=spec, knative=knative)
