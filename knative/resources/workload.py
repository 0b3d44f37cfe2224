"""A part of an app, or a server of its own such as a receiver or a console, and its objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from knative.client.kinds import NETWORK_POLICY, SERVICE, SINK_BINDING, STATEFUL_SET, ObjectKind
from knative.resources.metadata import APP_LABEL, PART_LABEL, labels, reference
from knative.settings import ClusterApp

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A part, most of which run in pods.

    Attributes:
        name: Name of its objects.
        namespace: Namespace of its objects; empty leaves it out, so that kubectl's `-n` decides.
        labels: Labels of its objects and pods.
        selector: Those labels that select its pods.
    """

    name: str
    namespace: str
    labels: Mapping[str, str]
    selector: Mapping[str, str]

    def build(
        self,
        kind: ObjectKind,
        spec: Mapping[str, Any] | None = None,
        *,
        annotations: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> Manifest:
        """Build an object of this part with its metadata."""
        metadata: Manifest = {"name": self.name}
        metadata |= {"namespace": self.namespace} if self.namespace else {}
        metadata |= {"labels": dict(self.labels)} | ({"annotations": dict(annotations)} if annotations else {})
        made: Manifest = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **fields}
        return made if spec is None else {**made, "spec": spec}

    def build_service(self, *ports: tuple[str, int, str], service_type: str = "ClusterIP") -> Manifest:
        """Build the Service of this part's pods.

        Args:
            ports: Name, port and name of the container's port, of each port.
            service_type: Type of the Service.
        """
        kind = {} if service_type == "ClusterIP" else {"type": service_type}
        opened = [{"name": name, "port": port, "targetPort": target} for name, port, target in ports]
        return self.build(SERVICE, {**kind, "selector": dict(self.selector), "ports": opened})

    def build_policy(self, *rules: tuple[int, Sequence[Mapping[str, Any]]]) -> Manifest:
        """Build the NetworkPolicy that admits connections to this part's pods.

        Args:
            rules: A port and the peers that may connect to it, any peer when there is none.
        """
        ingress = [
            {**({"from": list(peers)} if peers else {}), "ports": [{"protocol": "TCP", "port": port}]}
            for port, peers in rules
        ]
        spec = {"podSelector": {"matchLabels": dict(self.selector)}, "policyTypes": ["Ingress"], "ingress": ingress}
        return self.build(NETWORK_POLICY, spec)

    def build_sink_binding(self, kind: ObjectKind, sink: Mapping[str, Any]) -> Manifest:
        """Build the SinkBinding that sets the variable `K_SINK` of this part's pods to the address of a sink.

        It is applied before the workload of the given kind, which so starts only once, with its sink.
        """
        subject = reference(kind, self.name, self.namespace)
        return self.build(SINK_BINDING, {"subject": subject, "sink": {"ref": sink}})

    def build_template(self, pod: Mapping[str, Any]) -> Manifest:
        """Build the template of this part's pods."""
        return {"metadata": {"labels": dict(self.labels)}, "spec": pod}

    def build_stateful_set(self, pod: Mapping[str, Any], volumes: Mapping[str, str]) -> Manifest:
        """Build the StatefulSet of this part, one pod that keeps its volumes.

        With `Parallel`, a pod that can't start is replaced as soon as its template is corrected, and a pod that isn't
        ready yet when the SinkBinding sets its sink doesn't hold the update up.

        Args:
            pod: Spec of the pod.
            volumes: Name and size of each volume that the StatefulSet claims.
        """
        claims = [
            {
                "metadata": {"name": name},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
            }
            for name, size in volumes.items()
        ]
        spec = {
            "replicas": 1,
            "serviceName": self.name,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": dict(self.selector)},
            "template": self.build_template(pod),
            "volumeClaimTemplates": claims,
        }
        return self.build(STATEFUL_SET, spec)


def build_app_part(
    app: ClusterApp,
    name: str,
    part: str,
    *,
    namespace: str | None = None,
    own: Mapping[str, str] | None = None,
) -> Workload:
    """Build the workload of a part of an app.

    Args:
        app: The app.
        name: Name of the part's objects.
        part: The part, the value of PART_LABEL.
        namespace: Namespace of the objects; empty leaves it out, None is the site's.
        own: Labels that distinguish it from parts of the same kind; without them PART_LABEL does.
    """
    selected, space = own or {PART_LABEL: part}, app.site.namespace if namespace is None else namespace
    made = {**labels(app.name, app.function.site, part), **(own or {})}
    return Workload(name=name, namespace=space, labels=made, selector={APP_LABEL: app.name, **selected})
