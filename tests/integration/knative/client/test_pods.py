"""What containers write, and requests to them, through the API server."""

from __future__ import annotations

import pytest

from eaves.errors import AbsentError, ClusterError, DeniedError
from knative.client.cluster import Cluster
from tests.cluster.simulated import pod
from tests.fakes.kubernetes.apiserver import FakeCluster, Reply, Request


@pytest.fixture(autouse=True)
def a_pod(apiserver: FakeCluster) -> None:
    apiserver.put(pod("f-1"))


def test_what_was_written_after_a_moment_is_read_once(cluster: Cluster, apiserver: FakeCluster) -> None:
    with pytest.raises(AbsentError, match='pods "nobody" not found'):
        cluster.log_after("nobody", "")
    apiserver.write_log("f-1", "a", "b\u2028c", namespace="cams")
    first = cluster.log_after("f-1", "")
    assert [line for _, line in first] == ["a", "b\u2028c"]
    apiserver.write_log("f-1", "", "d", namespace="cams")
    assert [line for _, line in cluster.log_after("f-1", first[-1][0])] == ["", "d"]


def test_a_request_goes_through_the_proxy_as_it_is(cluster: Cluster, apiserver: FakeCluster) -> None:
    seen: list[Request] = []

    def backend(request: Request) -> Reply:
        seen.append(request)
        return Reply(status=201, headers={"Ce-Type": "x", "Content-Type": "application/json"}, body=b'{"a":1}')

    apiserver.backend = backend
    answer = cluster.proxy(
        "pods/f-1:8080",
        "/predict?a=b%20c",
        method="POST",
        headers={"Host": "flowers.cams.example", "Content-Type": "application/json", "Ce-Id": "1"},
        body=b"[1, 2]",
    )
    assert (answer.status, answer.headers["ce-type"], answer.body) == (201, "x", b'{"a":1}')
    assert answer.latency_ms > 0
    (request,) = seen
    assert (request.target, request.path, request.query) == ("pods/f-1:8080", "/predict", {"a": "b c"})
    assert (request.method, request.body, request.headers["Host"]) == ("POST", b"[1, 2]", "flowers.cams.example")


def test_what_the_api_server_refuses_is_an_error(cluster: Cluster, apiserver: FakeCluster) -> None:
    with pytest.raises(ClusterError, match=r"edge: pods f-1:8080 in namespace cams does not answer: .*refused"):
        cluster.proxy("pods/f-1:8080", "/")
    with pytest.raises(AbsentError, match='services "f" not found'):
        cluster.proxy("services/f:80", "/")
    apiserver.denied.add(("get", "services/proxy"))
    with pytest.raises(DeniedError, match="may not get services/proxy in namespace cams") as denied:
        cluster.proxy("services/f:80", "/")
    assert "auth can-i get services --subresource=proxy -n cams" in str(denied.value.hint)
