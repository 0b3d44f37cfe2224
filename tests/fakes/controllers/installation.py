"""A simulated cluster with everything that Knative Serving, Eventing and Kourier bring, as a doctor sees it."""

from __future__ import annotations

import time
from collections.abc import Mapping
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
    server.put(lease("node1"), manager="kubelet")
    server.put(storage_class("standard", default=True))


def set_channel(server: FakeCluster, kind: str) -> None:
    """Which channel the default Broker keeps its events in."""
    values = {"channel-template-spec": CHANNEL.format(kind=kind)}
    server.put(config("config-br-default-channel", EVENTING, **values))


def bare(api_version: str, kind: str, name: str, **metadata: Any) -> Manifest:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **metadata}}


def config(name: str, namespace: str = SERVING, **data: str) -> Manifest:
    return {**bare("v1", "ConfigMap", name, namespace=namespace), "data": data}


def deployment(name: str, namespace: str, version: str, *, replicas: int = 1, **env: str) -> Manifest:
    labels = {"app.kubernetes.io/version": version}
    variables = [{"name": key, "value": value} for key, value in env.items()]
    spec = {"template": {"spec": {"containers": [{"name": name, "env": variables}]}}}
    made = bare("apps/v1", "Deployment", name, namespace=namespace, labels=labels)
    return {**made, "spec": spec, "status": {"availableReplicas": replicas}}


def node(name: str, *, arch: str = "amd64", cpu: str = "4", memory: str = "8Gi", **more: Any) -> Manifest:
    """A node; `ready`, `pressure`, `provider`, `labels`, `unschedulable`."""
    conditions = [
        {"type": "Ready", "status": "True" if more.get("ready", True) else "False", "message": "kubelet stopped"}
    ]
    if pressure := more.get("pressure"):
        conditions.append({"type": pressure, "status": "True"})
    labels: Mapping[str, str] = {"kubernetes.io/arch": arch, **more.get("labels", {})}
    spec = {"providerID": more.get("provider", ""), "unschedulable": more.get("unschedulable", False)}
    status = {"conditions": conditions, "allocatable": {"cpu": cpu, "memory": memory}}
    return {**bare("v1", "Node", name, labels=dict(labels)), "spec": spec, "status": status}


def lease(name: str, *, ahead_s: float = 0.0) -> Manifest:
    """What a kubelet writes every ten seconds, with its own clock."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(time.time() + ahead_s))
    made = bare("coordination.k8s.io/v1", "Lease", name, namespace="kube-node-lease")
    return {**made, "spec": {"holderIdentity": name, "renewTime": moment}}


def storage_class(name: str, *, default: bool) -> Manifest:
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    return bare("storage.k8s.io/v1", "StorageClass", name, annotations=annotations)


def quota(name: str, namespace: str, hard: Mapping[str, str], used: Mapping[str, str]) -> Manifest:
    made = bare("v1", "ResourceQuota", name, namespace=namespace)
    return {**made, "spec": {"hard": dict(hard)}, "status": {"hard": dict(hard), "used": dict(used)}}
