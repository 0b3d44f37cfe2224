"""Check of the function's NetworkPolicy: whether it allows DNS queries to this cluster's resolvers.

Source: Kubernetes, cluster/addons/dns/nodelocaldns: the DNS cache runs on each node's own network, where no selector of
pods selects it, and answers at the addresses of its argument `-localip`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from eaves.config import iter_leaves
from functions.settings import ServeSettings
from knative.client.kinds import DAEMON_SET, POD
from knative.doctor.context import ExaminedSite
from knative.doctor.finding import DoctorFinding, error, ok, warning
from knative.settings import Resolver, parse_resolver

CHECK = "dns"
NODE_CACHE, SYSTEM = "node-local-dns", "kube-system"
_HOSTS = next(leaf.env for leaf in iter_leaves(ServeSettings) if leaf.path == "dataref_hosts")


def check_dns(subject: ExaminedSite) -> Iterator[DoctorFinding]:
    """Check that the function's NetworkPolicy, if it has one, allows DNS queries to the cluster's resolvers.

    The resolvers are those of `knative.dns`, and the node-local cache if the cluster has one.
    """
    settings = subject.settings
    if not settings.network_policy:
        return
    if any(True for _ in settings.faults()):  # the check `settings` reports them
        return
    resolvers = [parse_resolver(text) for text in settings.dns]
    found = [*_check_pods(subject, resolvers), *_check_node_cache(subject, resolvers)]
    yield from found or [ok(CHECK, f"the NetworkPolicy lets the function resolve names at {', '.join(settings.dns)}")]


def _check_pods(subject: ExaminedSite, resolvers: list[Resolver]) -> Iterator[DoctorFinding]:
    severity = error if subject.app.function.env.get(_HOSTS) else warning
    for resolver in resolvers:
        if resolver.network:
            continue
        selector = ",".join(f"{key}={value}" for key, value in resolver.labels)
        if not subject.cluster.list(POD, namespace=resolver.namespace, selector=selector):
            yield severity(
                CHECK,
                f"the NetworkPolicy lets the function resolve names at pods {selector} in {resolver.namespace}, "
                "but no such pod exists: if the network enforces the policy, no name of function.dataref_hosts "
                "can be resolved",
                "set knative.dns in eaves.yaml to NAMESPACE/LABEL=VALUE of the cluster's DNS: kubectl get pods -A "
                "--show-labels | grep -i dns",
            )


def _check_node_cache(subject: ExaminedSite, resolvers: list[Resolver]) -> Iterator[DoctorFinding]:
    cache = subject.cluster.get(DAEMON_SET, NODE_CACHE, namespace=SYSTEM)
    if cache is None:
        return
    known = {resolver.network.partition("/")[0] for resolver in resolvers}
    missing = [address for address in _addresses(cache) if address not in known]
    if missing:
        wanted = ", ".join([*subject.settings.dns, *missing])
        yield warning(
            CHECK,
            f"each node resolves names itself ({NODE_CACHE}, at {', '.join(missing)}), but the NetworkPolicy does "
            "not let the function reach it",
            f"set knative.dns in eaves.yaml to [{wanted}]",
        )


def _addresses(cache: Mapping[str, Any]) -> list[str]:
    """Return the IP addresses at which the node-local DNS cache answers."""
    for container in cache.get("spec", {}).get("template", {}).get("spec", {}).get("containers", ()):
        arguments = [str(one) for one in container.get("args", ())]
        for argument, value in pairwise(arguments):
            if argument.lstrip("-") == "localip":
                return [address.strip() for address in value.split(",")]
    return []
