"""Who may do what: a ServiceAccount without rights, and which connections the function's pods take and make."""

from __future__ import annotations

from typing import Any

from eaves.config import build, env_layer
from functions.fetch.url_policy import PORTS
from functions.settings import ServeSettings
from knative.client.kinds import NETWORK_POLICY, SERVICE_ACCOUNT
from knative.cluster_dns import build_dns_egress
from knative.resources.fields.metadata import build_object
from knative.resources.fields.network_peers import build_namespace_peer
from knative.settings import KnativeSettings, SiteSettings
from knative.specs import ClusterApp

SERVING_NAMESPACE = "knative-serving"
REQUEST_PORTS = (8012, 8112)
"""HTTP and HTTPS of the sidecar before the function. Source: knative/serving, pkg/networking/constants.go."""
SCALING_PORT = 9090
"""The sidecar's metrics, which the autoscaler reads. Its port 8022 is asked by the kubelet of its own node, which no
policy keeps out, and 9091 by nobody unless the cluster scrapes it. Source: the same, and pkg/autoscaler/metrics."""


def build_account(app: ClusterApp, site: SiteSettings) -> dict[str, Any]:
    """The account of every pod of an app. Nothing is bound to it and no pod gets its token."""
    account = build_object(SERVICE_ACCOUNT, app.function.name, app, site, "access")
    return {**account, "automountServiceAccountToken": False}


def build_network_policy(app: ClusterApp, settings: KnativeSettings, site: SiteSettings) -> dict[str, Any]:
    """Lets in what Serving needs, and out what the function needs: names, and hosts of data that events refer to.

    A node's own kubelet always gets in (probes). Metrics of the function are read by port-forward, which no policy
    concerns, so that the API server needs no way in.
    """
    callers = [build_namespace_peer(name) for name in _callers(settings)]
    autoscaler = [build_namespace_peer(SERVING_NAMESPACE)]
    return {
        **build_object(NETWORK_POLICY, app.function.name, app, site, "access"),
        "spec": {
            "podSelector": {"matchLabels": {"serving.knative.dev/service": app.function.name}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": callers, "ports": [{"protocol": "TCP", "port": port} for port in REQUEST_PORTS]},
                {"from": autoscaler, "ports": [{"protocol": "TCP", "port": SCALING_PORT}]},
            ],
            "egress": [*build_dns_egress(settings.dns), *_references(app)],
        },
    }


def _callers(settings: KnativeSettings) -> tuple[str, ...]:
    return tuple(dict.fromkeys((SERVING_NAMESPACE, settings.gateway_namespace)))


def _references(app: ClusterApp) -> list[dict[str, Any]]:
    """Where `dataref` leads. A policy knows addresses only; the function itself checks the hosts' names."""
    settings = build(ServeSettings, env_layer(ServeSettings, app.function.env))
    if not settings.dataref_hosts:
        return []
    ends = [host.rpartition(":")[2] for host in settings.dataref_hosts]
    numbers = {int(end) for end in ends if end.isdecimal()} | {PORTS[scheme] for scheme in settings.dataref_schemes}
    public = {"cidr": "0.0.0.0/0", "except": list(PRIVATE)}
    to = [{"ipBlock": public}, *({"ipBlock": {"cidr": network}} for network in settings.dataref_networks)]
    return [{"to": to, "ports": [{"protocol": "TCP", "port": port} for port in sorted(numbers)]}]


PRIVATE = ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
"""Source: RFC 6890; what `functions.fetch.url_policy` refuses too, unless `dataref_networks` allows it."""
