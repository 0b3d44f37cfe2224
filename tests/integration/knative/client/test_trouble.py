"""A server that is slow, overloaded, down, or no longer knows us: every call ends in time, with what to do."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eaves.errors import ClusterError, DeniedError, UnreachableClusterError
from knative.client.cluster import Cluster, open_cluster
from knative.client.kinds import CONFIG_MAP, KSERVICE
from tests.cluster.simulated import config_map, service
from tests.fakes.kubernetes.apiserver import (
    FakeCluster,
    Reply,
    refusal,
    refusing_url,
    write_kubeconfig,
)


def test_an_overloaded_server_is_asked_again_when_it_wants_to_be(cluster: Cluster, apiserver: FakeCluster) -> None:
    apiserver.fail(refusal(429, "TooManyRequests", "slow down", Retry_After="1"), method="PATCH")
    started = time.monotonic()
    assert cluster.apply(service(), manager="eaves")["metadata"]["generation"] == 1
    assert time.monotonic() - started >= 1


def test_a_server_that_wants_longer_than_there_is_time_is_given_up_at_once(
    cluster: Cluster, apiserver: FakeCluster
) -> None:
    apiserver.fail(refusal(429, "TooManyRequests", "slow down", Retry_After="60"), times=9)
    started = time.monotonic()
    with pytest.raises(ClusterError, match="edge: the API server is overloaded: slow down") as caught:
        cluster.list(CONFIG_MAP)
    assert caught.value.hint == "try again later"
    assert time.monotonic() - started < 5


def test_the_number_of_retries_is_bounded(cluster: Cluster, apiserver: FakeCluster) -> None:
    apiserver.fail(refusal(503, "ServiceUnavailable", "etcd is away"), times=99)
    with pytest.raises(UnreachableClusterError, match="answered 503: etcd is away"):
        cluster.get(CONFIG_MAP, "a")
    assert len(apiserver.log) == 4


def test_a_connection_that_breaks_is_made_again(cluster: Cluster, apiserver: FakeCluster) -> None:
    apiserver.fail(Reply(status=0), times=2)
    assert cluster.apply(service(), manager="eaves")["metadata"]["generation"] == 1


def test_an_apply_over_a_version_is_not_sent_twice(cluster: Cluster, apiserver: FakeCluster) -> None:
    version = cluster.apply(service(), manager="eaves")["metadata"]["resourceVersion"]
    apiserver.fail(Reply(status=0))
    late = service("r/f@sha256:2")
    late["metadata"]["resourceVersion"] = version
    with pytest.raises(UnreachableClusterError, match="broke"):
        cluster.apply(late, manager="eaves")


def test_a_server_that_hangs_costs_the_time_limit_and_no_more(apiserver: FakeCluster, tmp_path: Path) -> None:
    cluster = open_cluster(kubeconfig=apiserver.kubeconfig(tmp_path / "kubeconfig"), timeout_s=0.4)
    apiserver.hangs = True
    started = time.monotonic()
    with pytest.raises(UnreachableClusterError, match=r"edge: http://\S+ did not answer within 0\.4 s") as caught:
        cluster.get(CONFIG_MAP, "a")
    assert time.monotonic() - started < 3
    assert "kubectl --context edge get --raw /readyz" in str(caught.value.hint)


def test_a_server_that_is_down_is_named_with_its_context(tmp_path: Path) -> None:
    with refusing_url() as url:
        cluster = open_cluster(kubeconfig=write_kubeconfig(tmp_path / "kubeconfig", {"barn": url}))
        with pytest.raises(UnreachableClusterError, match=rf"barn: can't connect to {url}: .*[Cc]onnection refused"):
            cluster.version()


def test_a_web_page_is_not_taken_for_an_api_server(cluster: Cluster, apiserver: FakeCluster) -> None:
    apiserver.fail(Reply(body=b"<html>Welcome to our hotel</html>"))
    with pytest.raises(ClusterError, match="is not an API server: it answered <html>Welcome"):
        cluster.version()
    apiserver.fail(Reply(status=302, headers={"Location": "http://login.example/"}))
    with pytest.raises(ClusterError, match="is not an API server: it answered 302"):
        cluster.version()


def test_a_token_that_has_expired_for_good_says_how_to_log_in(cluster: Cluster, apiserver: FakeCluster) -> None:
    apiserver.tokens = set()
    with pytest.raises(DeniedError, match="edge: the user is not logged in at http") as caught:
        cluster.get(KSERVICE, "flowers")
    assert "kubectl --context edge get namespaces" in str(caught.value.hint)
    assert len(apiserver.log) == 2


def test_many_threads_share_a_cluster_whose_token_expires(
    cluster: Cluster, apiserver: FakeCluster, tmp_path: Path
) -> None:
    apiserver.tokens = {"renewed"}
    apiserver.kubeconfig(tmp_path / "kubeconfig", namespace="cams", user={"token": "renewed"})
    with ThreadPoolExecutor(16) as pool:
        done = list(pool.map(lambda n: cluster.apply(config_map(f"m{n}"), manager="eaves"), range(64)))
    assert len(done) == len(cluster.list(CONFIG_MAP)) == 64
