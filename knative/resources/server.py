"""Servers of Eaves in pods: relay, publisher, receiver and console, and the settings of those that belong to no app."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eaves.admin.agent import LIVE
from eaves.base.names import NAME_PATTERN
from eaves.config import setting
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
    USER,
    Fragment,
    Mounted,
    build_env,
    build_pod,
    build_security,
    build_temporary,
    find_fragment_faults,
    load_fragment,
)
from knative.resources.workload import Manifest, Workload
from knative.specs import find_object_fault

METRICS_PORT = 9090
"""Port where agents and servers answer /metrics and /health."""
SPOOL = "/spool"
"""Folder of the spool in a pod."""
LIVENESS = {"periodSeconds": 30, "timeoutSeconds": 5, "failureThreshold": 20}
"""Times of a liveness probe that fails after 10 minutes: reading a damaged spool of gigabytes may take that long before
the port opens."""
LIVENESS_PROBE = {"httpGet": {"path": LIVE, "port": "metrics"}, **LIVENESS}
SERVER_PROBES = {
    "readinessProbe": {"tcpSocket": {"port": "events"}, "periodSeconds": 5},
    "livenessProbe": LIVENESS_PROBE,
}
"""Probes of a server that takes events at the port `events`."""


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
    container: str,
    image: str,
    module: str,
    variables: Mapping[str, str],
    *,
    ports: Mapping[str, int],
    probes: Mapping[str, Any],
    resources: Mapping[str, Any],
    fragment: Fragment,
    folders: Sequence[Mounted],
    **fields: Any,
) -> Manifest:
    """Build the spec of a pod with one server of Eaves.

    Args:
        container: Name of the container.
        image: Container image.
        module: Module that is run, such as `eaves.relay`.
        variables: Environment variables.
        ports: Ports by name.
        probes: Readiness and liveness probes, as fields of the container.
        resources: Requests and limits.
        fragment: The user's fields of the pod.
        folders: Volume and mount of each folder besides /tmp.
        fields: Other fields of the pod's spec.
    """
    made = {
        "name": container,
        "image": image,
        "command": ["python", "-P", "-m", module],
        "env": build_env(variables),
        "ports": [{"name": name, "containerPort": port} for name, port in ports.items()],
        **probes,
        "resources": resources,
        "securityContext": build_security(),
    }
    mounted = [build_temporary(), *folders]
    return build_pod(made, fragment, folders=mounted, securityContext={"fsGroup": USER}, **fields)


def mount_spool() -> Mounted:
    """Return (no volume, mount) of the spool that a StatefulSet claims."""
    return None, {"name": "spool", "mountPath": SPOOL}
