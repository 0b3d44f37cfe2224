"""DNS resolvers of a cluster as a NetworkPolicy names them: pods by namespace and label, or IP addresses."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

DNS_PORT = 53
CLUSTER_DNS = "kube-system/k8s-app=kube-dns"
"""Namespace and label of the pods that resolve names in most clusters.

Source: Kubernetes, cluster/addons/dns/coredns; kubeadm, k3s, RKE2, GKE, EKS and AKS keep namespace and label.
"""
_PODS = re.compile(
    r"(?P<namespace>[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)"
    r"/(?P<key>[A-Za-z0-9][A-Za-z0-9./_-]*)=(?P<value>[A-Za-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """A DNS resolver that a function may query.

    Attributes:
        namespace: Namespace of the resolver's pods; empty when the resolver is an IP address.
        labels: Labels of the resolver's pods, as (name, value).
        network: IP address or network, such as 169.254.20.10/32; empty when the resolver is a set of pods.
        port: Port that the resolver listens at, UDP and TCP. It is the pod's own port, since a NetworkPolicy compares
            that: OpenShift's resolver pods listen at 5353.
    """

    namespace: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    network: str = ""
    port: int = DNS_PORT

    def peer(self) -> dict[str, Any]:
        """Build the peer that selects this resolver in a NetworkPolicy."""
        if self.network:
            return {"ipBlock": {"cidr": self.network}}
        namespaces = {"matchLabels": {"kubernetes.io/metadata.name": self.namespace}}
        return {"namespaceSelector": namespaces, "podSelector": {"matchLabels": dict(self.labels)}}


def parse_resolver(text: str) -> Resolver:
    """Parse a resolver: `NAMESPACE/LABEL=VALUE[:PORT]`, an IP address or a network.

    Raises:
        ValueError: When the text is neither a pod selector nor an IP address or network.
    """
    if pods := _PODS.fullmatch(text):
        port = int(pods["port"] or DNS_PORT)
        if not 0 < port < 65536:
            raise ValueError(f"{port} is not a port number")
        return Resolver(namespace=pods["namespace"], labels=((pods["key"], pods["value"]),), port=port)
    return Resolver(network=str(ipaddress.ip_network(text)))


def build_dns_egress(resolvers: Sequence[str]) -> list[dict[str, Any]]:
    """Build the egress rules that allow DNS queries only to the given resolvers, one rule for each port.

    A rule for port 53 to any address would let all data out, because DNS tunnels carry other traffic to any server.
    """
    found = [parse_resolver(text) for text in resolvers]
    return [
        {
            "to": [one.peer() for one in found if one.port == port],
            "ports": [{"protocol": protocol, "port": port} for protocol in ("UDP", "TCP")],
        }
        for port in dict.fromkeys(one.port for one in found)
    ]
