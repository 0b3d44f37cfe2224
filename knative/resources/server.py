"""Servers of Eaves in pods: relay, publisher, receiver and console, and the settings of those that belong to no app."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eaves.admin.report import LIVE
from eaves.base.names import NAME_PATTERN, find_object_fault
from eaves.config import iter_leaves, setting
from knative.resources.metadata import (
    INSTANCE_LABEL,
    MANAGED_LABEL,
    MANAGED_VALUE,
    NAME_LABEL,
    PART_LABEL,
    PRODUCT,
    build_namespace_peer,
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
    find_fragment_faults,
    load_fragment,
)
from knative.resources.workload import Manifest, Workload
from knative.settings import Fragment

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerDeployment:
    """Settings of a server that belongs to no app, in a namespace of a cluster."""

    name: str = setting("server", "Name of the objects; the server is reached at https://NAME.NAMESPACE.svc.")
    namespace: str = setting(
        "", "Namespace of the objects; empty: the objects name no namespace, and kubectl's `-n` decides."
    )
    image: str = setting("", "The server's container image by digest.")
    pod: str = setting(
        "",
        "Fields of the pod that Kubernetes knows, as YAML text, such as '{imagePullSecrets: [{name: registry}]}'; see "
        "`knative.pod`.",
    )
    service_type: str = setting(
        "ClusterIP",
        "Type of the Service: `ClusterIP`, reached from within the cluster, by `kubectl port-forward` or by a gateway "
        "that passes TLS through; `NodePort` or `LoadBalancer`, reached from outside.",
        choices=("ClusterIP", "NodePort", "LoadBalancer"),
    )

    def build_workload(self, part: str) -> Workload:
        """Build the server's workload, of which PART_LABEL has the value `part`."""
        selector = {PART_LABEL: part, INSTANCE_LABEL: self.name}
        made = {MANAGED_LABEL: MANAGED_VALUE, NAME_LABEL: PRODUCT, **selector}
        return Workload(name=self.name, namespace=self.namespace, labels=made, selector=selector)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield violations of rules that concern several fields, as (field, message)."""
        for path, value in (("name", self.name), ("namespace", self.namespace or "x")):
            if not NAME_PATTERN.fullmatch(value):
                yield path, f"must be 1-40 characters a-z, 0-9 and '-', starting with a letter (got {value!r})"
        if "@sha256:" not in self.image:
            yield "image", f"must name the container image by digest (got {self.image!r})"
        try:
            fragment = load_fragment(self.pod)
        except ValueError as error:
            yield "pod", str(error)
        else:
            yield from ((f"pod.{path}", message) for path, message in find_fragment_faults(fragment))

    def secret_faults(self, *, needed: Sequence[str], optional: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Yield the faults of settings that name an object, those of `needed` also when they are empty."""
        for path in (*needed, *optional):
            if fault := find_object_fault(getattr(self, path)):
                yield path, fault
            elif path in needed and not getattr(self, path):
                yield path, "must name a Secret"


def metrics_peers(namespaces: Sequence[str], *, home: str = "") -> list[dict[str, Any]]:
    """Return the peers that may read the metrics of a pod.

    Args:
        namespaces: Namespaces whose pods may read them.
        home: Namespace of the pod's app; empty when the pod is in it.
    """
    own: dict[str, Any] = build_namespace_peer(home) if home else {"podSelector": {}}
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
    probes: Mapping[str, Any] = PROBES,
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
