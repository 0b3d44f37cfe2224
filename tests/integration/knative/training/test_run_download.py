"""Download of a run in pieces from the pod that reads it, and the messages when no piece comes."""

from __future__ import annotations

import pytest

from eaves.errors import DeniedError, StorageError
from knative.client.cluster import Cluster
from knative.training.run_download import PodRunReader
from tests.cluster.simulated import pod
from tests.fakes.kubernetes.apiserver import FakeCluster, Reply, Request
from trainer.reader import TOKEN_HEADER

TOKEN = "s3cret-of-the-reader"


@pytest.fixture
def shelf(cluster: Cluster, apiserver: FakeCluster) -> PodRunReader:
    apiserver.put(pod("digits-read-1"))
    apiserver.status("Pod", "digits-read-1", {"phase": "Running"}, namespace="cams")
    return PodRunReader(cluster, "digits-read-1", TOKEN, "/runs/digits")


def wait(shelf: PodRunReader) -> None:
    shelf.wait(lambda text: None, ready_s=0.0)


def test_a_piece_comes_with_the_token(shelf: PodRunReader, apiserver: FakeCluster) -> None:
    seen: list[Request] = []

    def backend(request: Request) -> Reply:
        seen.append(request)
        return Reply(body=b"{}")

    apiserver.backend = backend
    wait(shelf)
    assert shelf.read("model.keras") == b"{}"
    assert seen[-1].headers[TOKEN_HEADER] == TOKEN
    assert (seen[-1].path, seen[-1].query["start"]) == ("/model.keras", "0")


def test_why_a_running_pod_does_not_answer_is_reported(shelf: PodRunReader, apiserver: FakeCluster) -> None:
    with pytest.raises(StorageError, match=r"its phase is Running, but .*port 8080 refuses connections"):
        wait(shelf)


def test_a_right_that_lacks_is_reported_at_once(shelf: PodRunReader, apiserver: FakeCluster) -> None:
    apiserver.denied = {("get", "pods/portforward")}
    with pytest.raises(DeniedError, match="may not get pods/portforward"):
        shelf.wait(lambda text: None)
