"""Addresses inside a cluster, as the API server's proxy reaches them from outside it."""

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
    """How to get to an address.

    Attributes:
        namespace: Of the Service that listens.
        target: The Service and its port, `services/NAME:80`.
        path: On it.
        host: What its Host header must say.
    """

    namespace: str
    target: str
    path: str
    host: str


def find_route(cluster: Cluster, url: str) -> ProxyRoute:
    """The way to `http://NAME.NAMESPACE.svc...`.

    A Knative Service's own address is an alias (ExternalName) of the gateway's, which tells functions apart by host.

    Raises:
        ClusterError: When the address isn't one in the cluster, or leads nowhere.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    name, namespace = _split(host)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    service = cluster.get(SERVICE, name, namespace=namespace)
    if service is None:
        raise ClusterError(f"{url} leads nowhere: there is no Service {name} in {namespace}", hint="eaves doctor")
    alias = str(service.get("spec", {}).get("externalName", ""))
    if alias:
        name, namespace = _split(alias)
    scheme = "https:" if parts.scheme == "https" else ""
    return ProxyRoute(namespace=namespace, target=f"services/{scheme}{name}:{port}", path=parts.path or "/", host=host)


def _split(host: str) -> tuple[str, str]:
    """Name and namespace of a Service's host."""
    labels = host.split(".")
    if len(labels) < 3 or labels[2] != "svc":
        raise ClusterError(f"{host} is not an address inside the cluster", hint="eaves doctor")
    return labels[0], labels[1]
