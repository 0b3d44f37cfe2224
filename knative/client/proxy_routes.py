"""Routes through the API server's proxy to addresses that can be reached only inside a cluster."""

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
        target: Service and port in the form of the API server's proxy, `services/NAME:80`.
        path: Path of the request at the Service.
        host: Value of the request's Host header.
    """

    namespace: str
    target: str
    path: str
    host: str


def find_route(cluster: Cluster, url: str) -> ProxyRoute:
    """Find the route to an address inside the cluster, `http://NAME.NAMESPACE.svc...`.

    The Service of a function is an alias (ExternalName) of the gateway's Service, and the gateway tells functions apart
    by the Host header.

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
    """Return (name, namespace) of a Service from its host name."""
    labels = host.split(".")
    if len(labels) < 3 or labels[2] != "svc":
        raise ClusterError(f"{host} is not an address inside the cluster", hint="eaves doctor")
    return labels[0], labels[1]
