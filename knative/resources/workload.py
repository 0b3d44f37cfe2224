"""A part of an app, or a server of its own such as a receiver or a console, and its objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eaves.admin.report import LIVE
from eaves.config import iter_leaves
from knative.client.kinds import (
    NETWORK_POLICY,
    SERVICE,
    SINK_BINDING,
    STATEFUL_SET,
    Labels,
    Manifest,
    Object,
    ObjectKind,
)
from knative.resources.metadata import (
    APP_LABEL,
    PART_LABEL,
    build_namespace_peer,
    labels,
    reference,
)
from knative.resources.pod import (
    CREDENTIALS_FOLDER,
    CREDENTIALS_VOLUME,
    LISTEN_ALL,
    OWNER_READS,
    USER,
    Mounted,
    build_env,
    build_pod,
)
from knative.settings import ClusterApp, Fragment


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
    labels: Labels
    selector: Labels

    def build(
        self,
        kind: ObjectKind,
        spec: Object | None = None,
        *,
        annotations: Labels | None = None,
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

    def build_policy(self, *rules: tuple[int, Sequence[Object]]) -> Manifest:
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

    def build_sink_binding(self, kind: ObjectKind, sink: Object) -> Manifest:
        """Build the SinkBinding that sets the variable `K_SINK` of this part's pods to the address of a sink.

        It is applied before the workload of the given kind, which so starts only once, with its sink.
        """
        subject = reference(kind, self.name, self.namespace)
        return self.build(SINK_BINDING, {"subject": subject, "sink": {"ref": sink}})

    def build_template(self, pod: Object) -> Manifest:
        """Build the template of this part's pods."""
        return {"metadata": {"labels": dict(self.labels)}, "spec": pod}

    def build_stateful_set(self, pod: Object, volumes: Mapping[str, str]) -> Manifest:
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
    own: Labels | None = None,
) -> Workload:
    """Build the workload of a part of an app.

    Args:
        name: Name of the part's objects.
        part: The part, the value of PART_LABEL.
        own: Labels that distinguish it from parts of the same kind; without them PART_LABEL does.
    """
    selected, space = own or {PART_LABEL: part}, app.site.namespace if namespace is None else namespace
    made = {**labels(app.name, app.function.site, part), **(own or {})}
    return Workload(name=name, namespace=space, labels=made, selector={APP_LABEL: app.name, **selected})


METRICS_PORT = 9090
"""Port where agents and servers answer /metrics and /health."""
SPOOL = "/spool"
"""Folder of the spool in a pod."""
LIVENESS_PROBE = {
    "httpGet": {"path": LIVE, "port": "metrics"},
    "periodSeconds": 30,
    "timeoutSeconds": 5,
    "failureThreshold": 20,
}
"""Liveness probe that fails after 10 minutes: reading a damaged spool of gigabytes may take that long before the port
opens."""
PROBES = {
    "readinessProbe": {"tcpSocket": {"port": "events"}, "periodSeconds": 5},
    "livenessProbe": LIVENESS_PROBE,
}
"""Probes of a server that takes events at the port `events`."""
REQUESTS = {"cpu": "20m", "memory": "64Mi"}


def metrics_peers(namespaces: Sequence[str], *, home: str = "") -> list[Manifest]:
    """Return the peers that may read the metrics of a pod.

    Args:
        namespaces: Namespaces whose pods may read them.
        home: Namespace of the pod's app; empty when the pod is in it.
    """
    own: Manifest = build_namespace_peer(home) if home else {"podSelector": {}}
    return [own, *(build_namespace_peer(name) for name in namespaces)]


def build_server_pod(
    module: str,
    image: str,
    settings: type,
    values: Mapping[str, str],
    *,
    ports: Mapping[str, int],
    fragment: Fragment,
    folders: Sequence[Mounted],
    memory: str,
    requests: Mapping[str, str] = REQUESTS,
    probes: Object = PROBES,
    **fields: Any,
) -> Manifest:
    """Build the spec of a pod with one server of Eaves.

    Args:
        module: Module that the container runs; its last name is the container's.
        image: Container image.
        settings: Class of the settings that the server reads from its environment.
        values: Its settings, by path.
        ports: Ports by name.
        fragment: The user's fields of the pod.
        folders: Volume and mount of each folder besides /tmp.
        memory: Memory limit.
        requests: Requests for resources.
        probes: Readiness and liveness probes, as fields of the container.
        fields: Other fields of the pod's spec.
    """
    variables = {leaf.path: leaf.env for leaf in iter_leaves(settings)}
    return build_pod(
        module.rpartition(".")[2],
        image,
        fragment,
        command=["python", "-P", "-m", module],
        env=build_env({variables[path]: value for path, value in values.items()}),
        ports=ports,
        resources={"requests": requests, "limits": {"memory": memory}},
        folders=folders,
        container=probes,
        securityContext={"fsGroup": USER},
        **fields,
    )


def build_queue_values(name: str, events_port: int) -> dict[str, str]:
    """Build the settings that every server with a queue has: where it listens, and the file of its spool."""
    ports = {"port": str(events_port), "health_port": str(METRICS_PORT)}
    return {"host": LISTEN_ALL, **ports, "spool": f"{SPOOL}/{name}.db"}


def mount_files(secrets: Mapping[str, Sequence[str]]) -> Mounted:
    """Return (volume, mount) of the named files of several Secrets, in the folder of credentials.

    Only those files: cert-manager writes a `ca.crt` beside a server's certificate, which is the authority that signed
    it, and the owner of another certificate of that authority is not a site of a receiver.

    Args:
        secrets: Names of files by the name of their Secret; one without a name is left out.
    """
    sources = [
        {"secret": {"name": name, "items": [{"key": file, "path": file} for file in files]}}
        for name, files in secrets.items()
        if name
    ]
    volume = {"name": CREDENTIALS_VOLUME, "projected": {"defaultMode": OWNER_READS, "sources": sources}}
    return volume, {"name": CREDENTIALS_VOLUME, "mountPath": CREDENTIALS_FOLDER, "readOnly": True}


def mount_spool() -> Mounted:
    """Return (no volume, mount) of the spool that a StatefulSet claims."""
    return None, {"name": "spool", "mountPath": SPOOL}
