"""Addresses inside a cluster, reached from outside through the API server's proxy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from eaves.errors import ClusterError
from knative.client.kinds import SERVICE

if TYPE_CHECKING:
    from knative.client.cluster import Cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyRoute:
    """A route through the API server's proxy to an address inside the cluster.

    Attributes:
        namespace: Namespace of the Service that listens.
        target: The Service and its port, `services/NAME:80`.
        path: Path at the Service.
        host: Value of the request's Host header.
    """

    namespace: str
    target: str
    path: str
    host: str


def find_route(cluster: Cluster, url: str) -> ProxyRoute:
    """Find the route to `http://NAME.NAMESPACE.svc...`.

    The address of a Knative Service is an alias (ExternalName) of the gateway's, which distinguishes functions by host.

    Raises:
        ClusterError: When the address isn't inside the cluster, or its Service doesn't exist.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    name, namespace = _split(host)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    service = cluster.get(SERVICE, name, namespace=namespace)
    if service is None:
        raise ClusterError(
            f"{url} can't be reached: the Service {name} does not exist in {namespace}", hint="eaves doctor"
        )
    alias = str(service.get("spec", {}).get("externalName", ""))
    if alias:
        name, namespace = _split(alias)
    scheme = "https:" if parts.scheme == "https" else ""
    return ProxyRoute(namespace=namespace, target=f"services/{scheme}{name}:{port}", path=parts.path or "/", host=host)


def _split(host: str) -> tuple[str, str]:
    """Return name and namespace from the host name of a Service."""
    labels = host.split(".")
    if len(labels) < 3 or labels[2] != "svc":
        raise ClusterError(f"{host} is not an address inside the cluster", hint="eaves doctor")
    return labels[0], labels[1]
