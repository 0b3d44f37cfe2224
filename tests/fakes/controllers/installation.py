"""A simulated cluster with everything that Knative Serving, Eventing and Kourier bring, as a doctor sees it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tests.fakes.kubernetes.apiserver import FakeCluster

Manifest = dict[str, Any]
SERVING, EVENTING, GATEWAY = "knative-serving", "knative-eventing", "kourier-system"
DEFAULTS = """
clusterDefault:
  brokerClass: MTChannelBasedBroker
  apiVersion: v1
  kind: ConfigMap
  name: config-br-default-channel
  namespace: knative-eventing
"""
CHANNEL = "apiVersion: messaging.knative.dev/v1\nkind: {kind}\n"


def install_knative(server: FakeCluster) -> None:
    """Put all of it there, running, with one node."""
    for name in ("activator", "autoscaler", "controller", "webhook", "net-kourier-controller"):
        server.put(deployment(name, SERVING, "1.23.0"))
    for name in ("eventing-controller", "eventing-webhook", "mt-broker-ingress", "job-sink"):
        server.put(deployment(name, EVENTING, "1.22.2"))
    server.put(config("config-network", **{"ingress-class": "kourier.ingress.networking.knative.dev"}))
    server.put(config("config-features", _example="kubernetes.podspec-nodeselector: enabled"))
    for name in ("config-autoscaler", "config-deployment", "config-domain"):
        server.put(config(name))
    server.put(config("config-br-defaults", EVENTING, **{"default-br-config": DEFAULTS}))
    set_channel(server, "InMemoryChannel")
    server.put(bare("v1", "Service", "kourier-internal", namespace=GATEWAY))
    server.put(bare("v1", "Pod", "coredns-1", namespace="kube-system", labels={"k8s-app": "kube-dns"}))
    server.put(node("node1"))


def set_channel(server: FakeCluster, kind: str) -> None:
    """Which channel the default Broker keeps its events in."""
    values = {"channel-template-spec": CHANNEL.format(kind=kind)}
    server.put(config("config-br-default-channel", EVENTING, **values))


def bare(api_version: str, kind: str, name: str, **metadata: Any) -> Manifest:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **metadata}}


def config(name: str, namespace: str = SERVING, **data: str) -> Manifest:
    return {**bare("v1", "ConfigMap", name, namespace=namespace), "data": data}


def deployment(name: str, namespace: str, version: str, *, replicas: int = 1) -> Manifest:
    labels = {"app.kubernetes.io/version": version}
    made = bare("apps/v1", "Deployment", name, namespace=namespace, labels=labels)
    return {**made, "status": {"availableReplicas": replicas}}


def node(
    name: str,
    *,
    arch: str = "amd64",
    ready: bool = True,
    unschedulable: bool = False,
    labels: Mapping[str, str] = MappingProxyType({}),
) -> Manifest:
    status = {"type": "Ready", "status": "True" if ready else "False", "message": "kubelet stopped"}
    made = bare("v1", "Node", name, labels={"kubernetes.io/arch": arch, **labels})
    return {**made, "spec": {"unschedulable": unschedulable}, "status": {"conditions": [status]}}
