"""What a deploy says when Knative refuses it for a reason that is known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eaves.errors import InvalidError
from knative.client.cluster import Cluster, open_cluster
from knative.deploy.apply import apply_app
from knative.deploy.ownership import AppOwner
from knative.resources.fields.labels import APP_LABEL
from tests.fakes.kubernetes.apiserver import FakeCluster, open_apiserver

WEBHOOK = 'admission webhook "validation.webhook.serving.knative.dev" denied the request: validation failed: '
FUNCTION = {
    "apiVersion": "serving.knative.dev/v1",
    "kind": "Service",
    "metadata": {"name": "flowers", "labels": {APP_LABEL: "flowers"}},
    "spec": {"template": {"spec": {"nodeSelector": {"place": "barn"}, "containers": [{"image": "r.test/f@sha256:0"}]}}},
}


@pytest.fixture
def server() -> Iterator[FakeCluster]:
    with open_apiserver() as running:
        yield running


@pytest.fixture
def cluster(server: FakeCluster, tmp_path: Path) -> Cluster:
    return open_cluster(kubeconfig=server.kubeconfig(tmp_path / "kubeconfig", namespace="barn"), timeout_s=10)


def refuse(server: FakeCluster, cluster: Cluster, text: str) -> InvalidError:
    def admit(manifest: dict[str, Any]) -> str:
        return f"{WEBHOOK}{text}" if manifest["kind"] == "Service" else ""

    server.admit = admit
    with pytest.raises(InvalidError) as caught:
        apply_app(cluster, [FUNCTION], AppOwner(app="flowers"))
    return caught.value


def test_a_missing_flag_is_named_with_the_line_that_sets_it(server: FakeCluster, cluster: Cluster) -> None:
    error = refuse(server, cluster, "must not set the field(s): spec.template.spec.nodeSelector")
    assert error.message == (
        "edge: the cluster refuses Service flowers: Knative accepts spec.template.spec.nodeSelector only if "
        "kubernetes.podspec-nodeselector is enabled in its ConfigMap config-features (kubernetes.podspec-nodeselector "
        "cannot safely be disabled once enabled)"
    )
    assert error.hint is not None
    assert error.hint.startswith("kubectl -n knative-serving patch configmap config-features")


def test_any_other_fault_is_reported_in_knatives_words(server: FakeCluster, cluster: Cluster) -> None:
    error = refuse(server, cluster, "expected 0 <= -1 <= 1000: spec.template.spec.containerConcurrency")
    assert "expected 0 <= -1 <= 1000" in error.message
