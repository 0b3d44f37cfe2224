"""Access of an app's pods: a ServiceAccount without rights, and a NetworkPolicy for the function's connections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eaves.config import build, env_layer
from eaves.http_client.proxies import PORTS
from functions.settings import ServeSettings
from knative.client.kinds import NETWORK_POLICY, SERVICE_ACCOUNT
from knative.resources.metadata import build_namespace_peer
from knative.resources.workload import build_app_part
from knative.settings import KnativeSettings, SiteSettings, parse_resolver
from knative.specs import ClusterApp

SERVING_NAMESPACE = "knative-serving"
REQUEST_PORTS = (8012, 8112)
"""Ports for HTTP and HTTPS of the sidecar in front of the function.

Source: knative/serving, pkg/networking/constants.go.
"""
SCALING_PORT = 9090
"""Port of the sidecar's metrics, which Knative's autoscaler reads.

Two other ports of the sidecar need no rule: 8022 is used by the node's own kubelet, which no policy blocks, and 9091 is
used by nothing unless the cluster collects its metrics. Source: knative/serving, pkg/networking/constants.go and
pkg/autoscaler/metrics."""


def build_account(app: ClusterApp, site: SiteSettings) -> dict[str, Any]:
    """Build the ServiceAccount of every pod of an app. No role is bound to it, and no pod gets its token."""
    part = build_app_part(app, app.function.name, site.namespace, "access")
    return part.build(SERVICE_ACCOUNT, automountServiceAccountToken=False)


def build_network_policy(app: ClusterApp, settings: KnativeSettings, site: SiteSettings) -> dict[str, Any]:
    """Build the function's NetworkPolicy: it allows requests of Serving, and connections to DNS and to dataref hosts.

    A node's own kubelet can always connect, for probes. The function's metrics are read by port-forward, to which no
    policy applies, so the API server needs no rule.
    """
    callers = [build_namespace_peer(name) for name in dict.fromkeys((SERVING_NAMESPACE, settings.gateway_namespace))]
    spec = {
        "podSelector": {"matchLabels": {"serving.knative.dev/service": app.function.name}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {"from": callers, "ports": [{"protocol": "TCP", "port": port} for port in REQUEST_PORTS]},
            {"from": callers[:1], "ports": [{"protocol": "TCP", "port": SCALING_PORT}]},
        ],
        "egress": [*build_dns_egress(settings.dns), *_references(app)],
    }
    return build_app_part(app, app.function.name, site.namespace, "access").build(NETWORK_POLICY, spec)


def _references(app: ClusterApp) -> list[dict[str, Any]]:
    """Build the egress rules for the hosts that the function fetches data from by `dataref`.

    A NetworkPolicy can only name addresses; the function itself checks the names of the hosts.
    """
    settings = build(ServeSettings, env_layer(ServeSettings, app.function.env))
    if not settings.dataref_hosts:
        return []
    ends = [host.rpartition(":")[2] for host in settings.dataref_hosts]
    numbers = {int(end) for end in ends if end.isdecimal()} | {PORTS[scheme] for scheme in settings.dataref_schemes}
    public = {"cidr": "0.0.0.0/0", "except": list(PRIVATE)}
    to = [{"ipBlock": public}, *({"ipBlock": {"cidr": network}} for network in settings.dataref_networks)]
    return [{"to": to, "ports": [{"protocol": "TCP", "port": port} for port in sorted(numbers)]}]


PRIVATE = ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
"""Private networks, which the function may not fetch data from.

Source: RFC 6890; `functions.fetch.url_policy` refuses them too, unless `dataref_networks` allows them.
"""


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
