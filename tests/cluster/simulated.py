"""A simulated cluster for tests, the client that talks to it, and objects to put there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from knative.client.cluster import Cluster, open_cluster
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import FakeCluster, open_apiserver


@pytest.fixture
def apiserver() -> Iterator[FakeCluster]:
    """One that lets everybody in."""
    with open_apiserver() as running:
        yield running


@pytest.fixture
def cluster(apiserver: FakeCluster, tmp_path: Path) -> Cluster:
    """Its client, in the namespace `cams`, context `edge`."""
    return open_cluster(kubeconfig=apiserver.kubeconfig(tmp_path / "kubeconfig", namespace="cams"), timeout_s=10)


@pytest.fixture
def knative(apiserver: FakeCluster, cluster: Cluster) -> Knative:
    """What makes things ready there."""
    return Knative(apiserver, cluster.namespace)


def service(image: str = "r/f@sha256:1", **spec: Any) -> dict[str, Any]:
    """A Knative Service."""
    metadata = {"name": "flowers", "labels": {"eaves.dev/app": "flowers"}}
    spec = {"template": {"spec": {"containers": [{"image": image}]}}, **spec}
    return {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": metadata, "spec": spec}


def config_map(name: str, **data: str) -> dict[str, Any]:
    """Something small."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def pod(name: str, namespace: str = "cams", **labels: str) -> dict[str, Any]:
    """A pod, without what it runs."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": labels}}
