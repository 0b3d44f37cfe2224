"""The rendered NetworkPolicies, asked for every connection that the product needs and for those they must refuse."""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from knative.resources.agent import SOURCE_LABEL
from knative.resources.metadata import APP_LABEL, NAMESPACE_LABEL, PART_LABEL
from knative.resources.rendering import render_app
from knative.resources.standalone_servers import ReceiverDeployment, build_receiver
from knative.settings import CLUSTER_DNS
from tests.cluster.apps import AGENT_IMAGE, at_site, full_app, full_settings, plain_app, plain_site, relayed_app
from tests.cluster.manifests import pod_templates

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


HOME, AGENTS, CLOUD, NODE_CACHE = "eaves", "eaves-agents", "cloud", "169.254.20.10"
APP = replace(
    relayed_app(),
    function=full_app().function,
    triggers=full_app().triggers,
    sources=relayed_app().sources,
)
SETTINGS = full_settings(dns=(CLUSTER_DNS, NODE_CACHE), metrics_namespaces=("monitoring",))
OBJECTS = [
    *render_app(at_site(APP, SETTINGS, plain_site(namespace=HOME))),
    *build_receiver(
        ReceiverDeployment(namespace=CLOUD, image=AGENT_IMAGE, broker="eaves", metrics_namespaces=("monitoring",))
    ),
]
POLICIES: list[Policy] = [one for one in OBJECTS if one["kind"] == "NetworkPolicy"]


def of(kind: str, name: str, address: str) -> Endpoint:
    """A pod that a rendered object makes."""
    (made,) = [one for one in OBJECTS if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    (template,) = pod_templates(made)
    return Endpoint(
        namespace=made["metadata"]["namespace"], labels=template["metadata"].get("labels", {}), address=address
    )


def pod(namespace: str, address: str, labels: Mapping[str, str] | None = None) -> Endpoint:
    return Endpoint(namespace=namespace, labels=labels or {}, address=address)


FUNCTION = pod(HOME, "10.244.1.10", {"serving.knative.dev/service": "flowers", APP_LABEL: "flowers"})
RELAY = of("StatefulSet", "flowers-relay", "10.244.1.11")
PUBLISHER = of("StatefulSet", "flowers-gate-mqtt", "10.244.1.12")
INBOX = of("StatefulSet", "flowers-inbox", "10.244.1.13")
CAMERA = of("DaemonSet", f"flowers-{HOME}-camera", "10.244.1.14")
RECEIVER = of("StatefulSet", "receiver", "10.244.9.10")
AGENT_PODS = [
    (one["metadata"]["name"], of(one["kind"], one["metadata"]["name"], f"10.244.4.{index}"))
    for index, one in enumerate(OBJECTS)
    if one["kind"] in {"StatefulSet", "DaemonSet"} and SOURCE_LABEL in one["metadata"]["labels"]
]
ACTIVATOR = pod("knative-serving", "10.244.2.10", {"app": "activator"})
AUTOSCALER = pod("knative-serving", "10.244.2.11", {"app": "autoscaler"})
GATEWAY = pod("kourier-system", "10.244.2.12", {"app": "3scale-kourier-gateway"})
DISPATCHER = pod("knative-eventing", "10.244.2.13", {"app": "mt-broker-filter"})
BROKER = pod("knative-eventing", "10.244.2.14", {"app": "mt-broker-ingress"})
DNS = pod("kube-system", "10.244.2.15", {"k8s-app": "kube-dns"})
PROMETHEUS = pod("monitoring", "10.244.2.16", {"app": "prometheus"})
CONSOLE = pod(HOME, "10.244.1.16", {PART_LABEL: "console"})
BYSTANDER = pod(CLOUD, "10.244.9.11", {"app": "shop"})
NODE_DNS = Endpoint(address=NODE_CACHE)
INTERNET = Endpoint(address="203.0.113.9")
STORE = Endpoint(address="10.1.2.3")
MQTT = Endpoint(address="192.168.1.5")

Flow = tuple[str, Endpoint, Endpoint, int, str]
NEEDED: tuple[Flow, ...] = (
    ("a request through the activator", ACTIVATOR, FUNCTION, 8012, "TCP"),
    ("a request through the activator, by TLS", ACTIVATOR, FUNCTION, 8112, "TCP"),
    ("a request from the gateway", GATEWAY, FUNCTION, 8012, "TCP"),
    ("the autoscaler's look", AUTOSCALER, FUNCTION, 9090, "TCP"),
    ("a name", FUNCTION, DNS, 53, "UDP"),
    ("a name with a long answer", FUNCTION, DNS, 53, "TCP"),
    ("a name at the node's cache", FUNCTION, NODE_DNS, 53, "UDP"),
    ("data of an event", FUNCTION, INTERNET, 443, "TCP"),
    ("data of an event by IPv6", FUNCTION, Endpoint(address="2a00:1450:4001::5"), 443, "TCP"),
    ("data of an event at a port of its own", FUNCTION, INTERNET, 8443, "TCP"),
    ("data of an event in a network that is named", FUNCTION, STORE, 443, "TCP"),
    ("an agent's image", INBOX, GATEWAY, 80, "TCP"),
    ("an agent's prediction for the relay", INBOX, RELAY, 8080, "TCP"),
    ("a node's agent's prediction for the relay", CAMERA, RELAY, 8080, "TCP"),
    ("what the Broker brings the relay", DISPATCHER, RELAY, 8080, "TCP"),
    ("what the relay sends to the cloud", RELAY, INTERNET, 443, "TCP"),
    ("the relay's metrics", PROMETHEUS, RELAY, 9090, "TCP"),
    ("the console's look at the relay", CONSOLE, RELAY, 9090, "TCP"),
    *((f"the metrics of {name}", PROMETHEUS, agent, 9090, "TCP") for name, agent in AGENT_PODS),
    *((f"the console's look at {name}", CONSOLE, agent, 9090, "TCP") for name, agent in AGENT_PODS),
    ("what the Broker brings the publisher", DISPATCHER, PUBLISHER, 8080, "TCP"),
    ("what the publisher publishes", PUBLISHER, MQTT, 8883, "TCP"),
    ("the publisher's metrics", PROMETHEUS, PUBLISHER, 9090, "TCP"),
    ("the console's look at the publisher", CONSOLE, PUBLISHER, 9090, "TCP"),
    ("a site's events for the receiver", INTERNET, RECEIVER, 8443, "TCP"),
    ("another server beside the receiver", INTERNET, BYSTANDER, 443, "TCP"),
    ("the receiver's metrics", PROMETHEUS, RECEIVER, 9090, "TCP"),
    ("the receiver's metrics in its namespace", BYSTANDER, RECEIVER, 9090, "TCP"),
)

STRANGER = pod(HOME, "10.244.3.10", {"app": "stranger"})
OTHER_AGENT = pod(AGENTS, "10.244.3.11", {**CAMERA.labels, APP_LABEL: "other"})
OTHER_HOME = pod(AGENTS, "10.244.3.17", {**CAMERA.labels, NAMESPACE_LABEL: "other"})
OTHER_PART = pod(AGENTS, "10.244.3.12", {**CAMERA.labels, PART_LABEL: "doctor"})
IMPOSTOR = pod("elsewhere", "10.244.3.13", CAMERA.labels)
NEIGHBOUR = pod(HOME, "10.244.3.14", {**INBOX.labels, APP_LABEL: "other"})
FALSE_DNS = pod("elsewhere", "10.244.3.15", DNS.labels)
BESIDE_DNS = pod("kube-system", "10.244.3.16", {"k8s-app": "other"})
REFUSED: tuple[Flow, ...] = (
    ("a request past the sidecar from Serving", ACTIVATOR, FUNCTION, 8080, "TCP"),
    ("a request past activator and gateway", STRANGER, FUNCTION, 8012, "TCP"),
    ("the sidecar's metrics for anybody", STRANGER, FUNCTION, 9090, "TCP"),
    ("a DNS tunnel to the internet", FUNCTION, INTERNET, 53, "UDP"),
    ("a DNS tunnel to a pod that calls itself DNS", FUNCTION, FALSE_DNS, 53, "UDP"),
    ("a DNS tunnel to another pod of that namespace", FUNCTION, BESIDE_DNS, 53, "UDP"),
    ("data in a private network of IPv6", FUNCTION, Endpoint(address="fd00::5"), 443, "TCP"),
    ("data in a private network of IPv4 that IPv6 embeds", FUNCTION, Endpoint(address="2002:a00:1::"), 443, "TCP"),
    ("the DNS server's other ports", FUNCTION, DNS, 8080, "TCP"),
    ("a private network, 10.0.0.0/8", FUNCTION, Endpoint(address="10.2.0.1"), 443, "TCP"),
    ("a private network, 100.64.0.0/10", FUNCTION, Endpoint(address="100.64.0.1"), 443, "TCP"),
    ("loopback", FUNCTION, Endpoint(address="127.0.0.2"), 443, "TCP"),
    ("a cloud's metadata", FUNCTION, Endpoint(address="169.254.169.254"), 443, "TCP"),
    ("a private network, 172.16.0.0/12", FUNCTION, Endpoint(address="172.16.0.1"), 443, "TCP"),
    ("a private network, 192.168.0.0/16", FUNCTION, MQTT, 443, "TCP"),
    ("events of another app's agents for the relay", NEIGHBOUR, RELAY, 8080, "TCP"),
    ("events of another part of the app for the relay", PUBLISHER, RELAY, 8080, "TCP"),
    ("events of another app's agents on nodes for the relay", OTHER_AGENT, RELAY, 8080, "TCP"),
    ("events of another namespace's agents on nodes for the relay", OTHER_HOME, RELAY, 8080, "TCP"),
    ("events of another part of the app on nodes for the relay", OTHER_PART, RELAY, 8080, "TCP"),
    ("events of a pod that calls itself an agent for the relay", IMPOSTOR, RELAY, 8080, "TCP"),
    ("another port of the relay", DISPATCHER, RELAY, 22, "TCP"),
    ("the relay's metrics for another namespace", BYSTANDER, RELAY, 9090, "TCP"),
    *((f"metrics of {name} for another namespace", BYSTANDER, agent, 9090, "TCP") for name, agent in AGENT_PODS),
    *((f"metrics of {name} from outside", INTERNET, agent, 9090, "TCP") for name, agent in AGENT_PODS),
    *((f"another port of {name}", PROMETHEUS, agent, 22, "TCP") for name, agent in AGENT_PODS),
    ("events of a stranger for the publisher", STRANGER, PUBLISHER, 8080, "TCP"),
    ("another port of the publisher", DISPATCHER, PUBLISHER, 22, "TCP"),
    ("the publisher's metrics for another namespace", BYSTANDER, PUBLISHER, 9090, "TCP"),
    ("the receiver's metrics for another namespace", STRANGER, RECEIVER, 9090, "TCP"),
    ("another port of the receiver", PROMETHEUS, RECEIVER, 22, "TCP"),
)


def answers(policies: Sequence[Policy], flows: Sequence[Flow]) -> dict[str, bool]:
    return {
        what: allows(policies, source, target, port, protocol=protocol)
        for what, source, target, port, protocol in flows
    }


def test_what_the_product_needs_is_let_through():
    assert [what for what, allowed in answers(POLICIES, NEEDED).items() if not allowed] == []


def test_what_nothing_needs_is_refused():
    assert [what for what, allowed in answers(POLICIES, REFUSED).items() if allowed] == []


def test_a_function_without_references_gets_out_for_names_only():
    objects = render_app(at_site(plain_app(), full_settings(), plain_site(namespace=HOME)))
    policies = [one for one in objects if one["kind"] == "NetworkPolicy"]
    assert [what for what, allowed in answers(policies, NEEDED).items() if not allowed] == [
        "a name at the node's cache",
        "data of an event",
        "data of an event by IPv6",
        "data of an event at a port of its own",
        "data of an event in a network that is named",
    ]


def test_names_are_looked_up_where_the_settings_say():
    openshift = "openshift-dns/dns.operator.openshift.io/daemonset-dns=default:5353"
    objects = render_app(at_site(plain_app(), full_settings(dns=(openshift, "fd00::10")), plain_site(namespace=HOME)))
    (policy,) = [one for one in objects if one["kind"] == "NetworkPolicy"]
    label = {"dns.operator.openshift.io/daemonset-dns": "default"}
    there = pod("openshift-dns", "10.128.0.5", label)
    assert allows([policy], FUNCTION, there, 5353, protocol="UDP")
    assert not allows([policy], FUNCTION, there, 53, protocol="UDP")
    assert not allows([policy], FUNCTION, DNS, 53, protocol="UDP")
    address: list[Any] = policy["spec"]["egress"][1]["to"]
    assert address == [{"ipBlock": {"cidr": "fd00::10/128"}}]


@pytest.mark.parametrize("text", ["kube-system/", "kube-system/k8s-app=kube-dns:70000", "10.0.0.1/8"])
def test_a_resolver_that_is_none_is_a_fault(text: str):
    assert [path for path, _ in full_settings(dns=(text,)).faults()] == ["dns"]
