"""Watches that survive what happens to connections and to the server's memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from eaves.errors import AbsentError, DeniedError, UnreachableClusterError
from knative.client.cluster import Cluster
from knative.client.kinds import CONFIG_MAP, KSERVICE, POD
from tests.cluster.simulated import config_map, pod
from tests.fakes.kubernetes.apiserver import FakeCluster, Reply, Request, refusal
from tests.waiting import wait_until


def put(apiserver: FakeCluster, name: str, **data: str) -> None:
    apiserver.put(config_map(name, **data), namespace="cams")


def watches(apiserver: FakeCluster) -> int:
    return len(apiserver.asked("GET", "/configmaps", watch="true"))


def reported(changes: Iterator[tuple[str, dict[str, Any]]]) -> Callable[[], str]:
    """The next change, short."""

    def one() -> str:
        kind, item = next(changes)
        return f"{kind} {item['metadata']['name']}"

    return one


def test_a_watch_tells_what_is_there_and_then_what_changes(cluster: Cluster, apiserver: FakeCluster) -> None:
    put(apiserver, "a")
    changes = cluster.watch(CONFIG_MAP, timeout_s=20)
    one = reported(changes)
    assert one() == "ADDED a"
    put(apiserver, "b")
    put(apiserver, "a", x="1")
    apiserver.remove("ConfigMap", "b", namespace="cams")
    assert [one(), one(), one()] == ["ADDED b", "MODIFIED a", "DELETED b"]


def test_a_watch_ends_when_its_time_is_over(cluster: Cluster, apiserver: FakeCluster) -> None:
    put(apiserver, "a")
    started = time.monotonic()
    assert len(list(cluster.watch(CONFIG_MAP, timeout_s=0.4))) == 1
    assert 0.3 < time.monotonic() - started < 3


def test_a_watch_sees_only_what_its_selectors_fit(cluster: Cluster, apiserver: FakeCluster) -> None:
    one = reported(cluster.watch(POD, selector="app=x", timeout_s=20))
    apiserver.put(pod("other", app="y"))
    apiserver.put(pod("mine", app="x"))
    assert one() == "ADDED mine"
    apiserver.put(pod("mine", app="y"))
    assert one() == "DELETED mine"


def test_a_watch_cut_within_an_event_continues_where_it_was(cluster: Cluster, apiserver: FakeCluster) -> None:
    put(apiserver, "a")
    changes = cluster.watch(CONFIG_MAP, timeout_s=20)
    one = reported(changes)
    assert one() == "ADDED a"
    put(apiserver, "b")
    assert one() == "ADDED b"
    apiserver.cut_streams()
    put(apiserver, "c")
    assert one() == "ADDED c"
    assert (watches(apiserver), len(apiserver.asked("GET", "/configmaps"))) == (2, 3)


@pytest.mark.parametrize("gone_as", ["event", "status"])
def test_a_watch_from_a_forgotten_version_lists_again(cluster: Cluster, apiserver: FakeCluster, gone_as: str) -> None:
    apiserver.gone_as = gone_as
    for name in ("a", "b", "c"):
        put(apiserver, name)
    one = reported(cluster.watch(CONFIG_MAP, timeout_s=20))
    assert [one(), one(), one()] == ["ADDED a", "ADDED b", "ADDED c"]

    def fault(request: Request) -> None:  # while nobody watches
        if watches(apiserver) == 1:
            apiserver.fault = lambda request: None
            apiserver.remove("ConfigMap", "a", namespace="cams")
            put(apiserver, "b", x="1")
            apiserver.remove("ConfigMap", "c", namespace="cams")
            put(apiserver, "c")
            put(apiserver, "d")
            apiserver.objects.compact()

    apiserver.fault = fault
    assert [one() for _ in range(5)] == ["DELETED a", "MODIFIED b", "DELETED c", "ADDED c", "ADDED d"]
    put(apiserver, "e")
    assert one() == "ADDED e"


def test_a_watch_waits_for_a_server_that_is_overloaded_or_gone_for_a_while(
    cluster: Cluster, apiserver: FakeCluster
) -> None:
    replies = [refusal(429, "TooManyRequests", "slow down"), Reply(status=0), refusal(503, "ServiceUnavailable", "no")]

    def fault(request: Request) -> Reply | None:
        return replies.pop() if "watch" in request.query and replies else None

    apiserver.fault = fault
    one = reported(cluster.watch(CONFIG_MAP, timeout_s=20))

    def come_later() -> None:
        wait_until(lambda: not replies)
        put(apiserver, "late")

    threading.Thread(target=come_later).start()
    assert one() == "ADDED late"


def test_a_watch_that_has_no_connection_when_its_time_is_over_says_so(cluster: Cluster, apiserver: FakeCluster) -> None:
    apiserver.fault = lambda request: Reply(status=0) if "watch" in request.query else None
    with pytest.raises(UnreachableClusterError, match="edge: the connection to http"):
        list(cluster.watch(CONFIG_MAP, timeout_s=0.6))


def test_a_watch_ends_at_once_when_a_right_or_the_kind_is_missing(cluster: Cluster, apiserver: FakeCluster) -> None:
    apiserver.denied.add(("watch", "configmaps"))
    with pytest.raises(DeniedError, match="may not watch configmaps in namespace cams"):
        list(cluster.watch(CONFIG_MAP, timeout_s=20))
    apiserver.unserved.add("serving.knative.dev/v1")
    with pytest.raises(AbsentError):
        list(cluster.watch(KSERVICE, timeout_s=20))


def test_a_watch_that_is_given_up_makes_no_further_connection(cluster: Cluster, apiserver: FakeCluster) -> None:
    begun, given_up = threading.Event(), threading.Event()
    reported = threading.Event()

    def follow() -> None:
        for _ in cluster.watch(CONFIG_MAP, timeout_s=60, begun=begun.set, given_up=given_up.is_set):
            reported.set()

    watching = threading.Thread(target=follow)
    watching.start()
    assert begun.wait(20), "the list is empty, so nothing is reported"
    put(apiserver, "a")
    assert reported.wait(20)
    given_up.set()
    apiserver.cut_streams()
    watching.join(20)
    assert not watching.is_alive()
    assert len(apiserver.asked("GET", watch="true")) == 1


def test_a_watch_that_is_given_up_closes_its_connection(cluster: Cluster, apiserver: FakeCluster) -> None:
    put(apiserver, "a")
    changes = cluster.watch(CONFIG_MAP, timeout_s=20)
    assert next(changes)[0] == "ADDED"
    put(apiserver, "b")
    assert next(changes)[0] == "ADDED"
    changes.close()  # type: ignore[attr-defined]
    assert cluster.version() == "v1.36.2"
