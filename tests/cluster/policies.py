"""What NetworkPolicies answer: a small evaluator, and the ways in which a policy can be a little narrower or wider.

Source: Kubernetes, NetworkPolicy v1. A pod that no policy of a direction selects is open in that direction; policies
add up; a connection needs the egress of its source and the ingress of its target. What the evaluator doesn't know
(matchExpressions, endPort, named ports) is an error, never an answer.
"""

from __future__ import annotations

import copy
import ipaddress
from collections.abc import Iterator, Mapping, Sequence
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


Mutant = tuple[str, list[Policy]]
"""What was changed, and the policies with that change."""


def narrow(policies: Sequence[Policy]) -> Iterator[Mutant]:
    """Each rule, each peer of a rule and each port of a rule taken away, one at a time."""
    for where, holder, key, index in _items(policies):
        with_change, changed = _copy(policies, holder)
        del changed[key][index]
        yield f"without {where}", with_change


def widen(policies: Sequence[Policy]) -> Iterator[Mutant]:
    """Each restriction taken away, one at a time: a policy, its pods, a direction, a rule's peers, ports, selectors."""
    for number, policy in enumerate(policies):
        name = policy["metadata"]["name"]
        yield f"without {name}", [one for one in policies if one is not policy]
        every, changed = _copy(policies, [number, "spec"])
        changed["podSelector"] = {}
        yield f"{name} for every pod of its namespace", every
        for direction in policy["spec"]["policyTypes"]:
            one_way, changed = _copy(policies, [number, "spec"])
            changed["policyTypes"].remove(direction)
            yield f"{name} without its {direction}", one_way
    for path in _restrictions(policies):
        wider, changed = _copy(policies, path[:-1])
        del changed[path[-1]]
        yield f"{policies[path[0]]['metadata']['name']} without {'.'.join(map(str, path[1:]))}", wider


def _items(policies: Sequence[Policy]) -> Iterator[tuple[str, list[Any], str, int]]:
    """What is listed in rules: a description, the path of what holds it, its list there, its place in the list."""
    for number, policy in enumerate(policies):
        name = policy["metadata"]["name"]
        for kind in ("ingress", "egress"):
            for index, rule in enumerate(policy["spec"].get(kind, ())):
                yield f"{name} {kind}[{index}]", [number, "spec"], kind, index
                for key, values in rule.items():
                    for place, value in enumerate(values):
                        if len(values) > 1:  # an empty list would mean everything
                            yield f"{name} {kind}[{index}].{key} {value}", [number, "spec", kind, index], key, place


def _restrictions(policies: Sequence[Policy]) -> Iterator[list[Any]]:
    """Paths of what makes rules narrower: without it they would mean more."""
    for number, policy in enumerate(policies):
        for kind in ("ingress", "egress"):
            for index, rule in enumerate(policy["spec"].get(kind, ())):
                path = [number, "spec", kind, index]
                for key in rule:
                    yield [*path, key]
                for key in ("from", "to"):
                    for place, peer in enumerate(rule.get(key, ())):
                        yield from ([*path, key, place, *inner] for inner in _selectors(peer))


def _selectors(peer: Mapping[str, Any]) -> Iterator[list[Any]]:
    for selector in ("namespaceSelector", "podSelector"):
        for label in peer.get(selector, {}).get("matchLabels", ()):
            yield [selector, "matchLabels", label]
    for index in range(len(peer.get("ipBlock", {}).get("except", ()))):
        yield ["ipBlock", "except", index]


def _copy(policies: Sequence[Policy], path: Sequence[Any]) -> tuple[list[Policy], Any]:
    """A copy of the policies, and what is at a path in it."""
    changed: Any = copy.deepcopy(list(policies))
    place = changed
    for step in path:
        place = place[step]
    return changed, place
