"""What NetworkPolicies answer: a small evaluator, and the ways in which a policy can be a little narrower or wider.

Source: Kubernetes, NetworkPolicy v1. A pod that no policy of a direction selects is open in that direction; policies
add up; a connection needs the egress of its source and the ingress of its target. What the evaluator doesn't know
(matchExpressions, endPort, named ports) is an error, never an answer.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Policy = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One end of a connection.

    Attributes:
        address: IPv4 address.
        namespace: Namespace of a pod; empty for a node or a host outside the cluster, which no selector matches.
        labels: Labels of a pod.
    """

    address: str
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


def allows(policies: Sequence[Policy], source: Endpoint, target: Endpoint, port: int, *, protocol: str = "TCP") -> bool:
    """Whether a connection is let through by both of its ends."""
    return _open(policies, source, target, "Egress", (protocol, port)) and _open(
        policies, target, source, "Ingress", (protocol, port)
    )


def _open(policies: Sequence[Policy], own: Endpoint, other: Endpoint, direction: str, port: tuple[str, int]) -> bool:
    """Whether the policies for one end let the other end in (Ingress), or it out to the other end (Egress)."""
    rules, peers = {"Ingress": ("ingress", "from"), "Egress": ("egress", "to")}[direction]
    applied = [one for one in policies if direction in one["spec"]["policyTypes"] and _selects_own(one, own)]
    if not applied:
        return True
    found = [rule for one in applied for rule in one["spec"].get(rules, ())]
    for rule in found:
        assert rule.keys() <= {peers, "ports"}, rule
    return any(_has_peer(rule, peers, own, other) and _has_port(rule, port) for rule in found)


def _selects_own(policy: Policy, own: Endpoint) -> bool:
    same = own.namespace == policy["metadata"]["namespace"]
    return bool(own.namespace) and same and _matches(policy["spec"]["podSelector"], own.labels)


def _has_peer(rule: Mapping[str, Any], peers: str, own: Endpoint, other: Endpoint) -> bool:
    return peers not in rule or any(_is_peer(peer, own, other) for peer in rule[peers])


def _is_peer(peer: Mapping[str, Any], own: Endpoint, other: Endpoint) -> bool:
    assert peer
    assert peer.keys() <= {"ipBlock", "namespaceSelector", "podSelector"}, peer
    if block := peer.get("ipBlock"):
        address = ipaddress.ip_address(other.address)
        inside = address in ipaddress.ip_network(block["cidr"])
        return inside and not any(address in ipaddress.ip_network(one) for one in block.get("except", ()))
    if not other.namespace:
        return False
    if "namespaceSelector" in peer:
        here = _matches(peer["namespaceSelector"], {"kubernetes.io/metadata.name": other.namespace})
    else:
        here = other.namespace == own.namespace
    return here and _matches(peer.get("podSelector", {}), other.labels)


def _has_port(rule: Mapping[str, Any], port: tuple[str, int]) -> bool:
    if "ports" not in rule:
        return True
    for one in rule["ports"]:
        assert one.keys() == {"protocol", "port"}, one
        assert isinstance(one["port"], int), one
    return any((one["protocol"], one["port"]) == port for one in rule["ports"])


def _matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels"}, selector
    return bool(selector.get("matchLabels", {}).items() <= labels.items())
