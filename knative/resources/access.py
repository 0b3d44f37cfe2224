"""Who may do what: a ServiceAccount without rights, and which connections the function's pods take and make."""

from __future__ import annotations

from typing import Any

from eaves.config import iter_leaves
from eaves.platform import AppSpec
from functions.settings import ServeSettings
from knative.kinds import NETWORK_POLICY, SERVICE_ACCOUNT
from knative.resources.metadata import build_object
from knative.resources.network import build_namespace_peer
from knative.settings import KnativeSettings, SiteSettings

SERVING_NAMESPACE = "knative-serving"
SERVING_PORTS = (8012, 8112, 8022, 9090, 9091)
"""HTTP, HTTPS and HTTP/2 of the sidecar that stands before the function, its metrics for the autoscaler, and those for
people. Source: knative/serving, pkg/networking/constants.go."""
_ENV = {leaf.path: leaf.env for leaf in iter_leaves(ServeSettings)}


def build_account(app: AppSpec, site: SiteSettings) -> dict[str, Any]:
    """The account of every pod of an app. Nothing is bound to it and no pod gets its token."""
    account = build_object(SERVICE_ACCOUNT, app.function.name, app, site, "access")
    return {**account, "automountServiceAccountToken": False}


def build_network_policy(app: AppSpec, settings: KnativeSettings, site: SiteSettings) -> dict[str, Any]:
    """Lets in what Serving needs, and out what the function needs: names, and hosts of data that events refer to.

    A node's own kubelet always gets in (probes), and so does the API server's proxy where it runs on the node.
    """
    peers = [build_namespace_peer(name) for name in _callers(settings)]
    ports = [{"protocol": "TCP", "port": port} for port in SERVING_PORTS]
    return {
        **build_object(NETWORK_POLICY, app.function.name, app, site, "access"),
        "spec": {
            "podSelector": {"matchLabels": {"serving.knative.dev/service": app.function.name}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": peers, "ports": ports}],
            "egress": [_names(), *_references(app)],
        },
    }


def _callers(settings: KnativeSettings) -> tuple[str, ...]:
    return tuple(dict.fromkeys((SERVING_NAMESPACE, settings.gateway_namespace)))


def _names() -> dict[str, Any]:
    ports = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    return {"ports": ports}


def _references(app: AppSpec) -> list[dict[str, Any]]:
    """Where `dataref` leads. A policy knows addresses only; the function itself checks the hosts' names."""
    env = app.function.env
    if not env.get(_ENV["dataref_hosts"]):
        return []
    hosts = [host.strip() for host in env[_ENV["dataref_hosts"]].split(",")]
    known = {"http": 80, "https": 443}
    schemes = (env.get(_ENV["dataref_schemes"]) or "https").split(",")
    numbers = {int(host.rpartition(":")[2]) for host in hosts if host.rpartition(":")[2].isdecimal()}
    numbers |= {known[scheme.strip()] for scheme in schemes if scheme.strip() in known}
    networks = [part.strip() for part in env.get(_ENV["dataref_networks"], "").split(",") if part.strip()]
    public = {"cidr": "0.0.0.0/0", "except": list(PRIVATE)}
    to = [{"ipBlock": public}, *({"ipBlock": {"cidr": network}} for network in networks)]
    return [{"to": to, "ports": [{"protocol": "TCP", "port": port} for port in sorted(numbers)]}]


PRIVATE = ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
"""Source: RFC 6890; what `functions.reach` refuses too, unless `dataref_networks` allows it."""
