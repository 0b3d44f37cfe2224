"""Watches: what is there, then what changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from eaves.errors import DeniedError
from knative.client.cluster import Cluster
from knative.client.kinds import CONFIG_MAP, POD
from tests.cluster.simulated import config_map, pod
from tests.fakes.kubernetes.apiserver import FakeCluster


def put(apiserver: FakeCluster, name: str, **data: str) -> None:
    apiserver.put(config_map(name, **data), namespace="cams")


def reported(changes: Iterator[tuple[str, dict[str, Any]]]) -> Callable[[], str]:
    """The next change, short."""

    def one() -> str:
        kind, item = next(changes)
        return f"{kind} {item['metadata']['name']}"

    return one


def test_a_watch_tells_what_is_there_and_then_what_changes(cluster: Cluster, apiserver: FakeCluster) -> None:
    put(apiserver, "a")
    put(apiserver, "c")
    one = reported(cluster.watch(CONFIG_MAP, timeout_s=20))
    assert [one(), one()] == ["ADDED a", "ADDED c"]
    put(apiserver, "b")
    put(apiserver, "a", x="1")
    apiserver.remove("ConfigMap", "c", namespace="cams")
    put(apiserver, "c")
    assert [one(), one(), one(), one()] == ["DELETED c", "MODIFIED a", "ADDED b", "ADDED c"]


def test_a_watch_ends_when_its_time_is_over(cluster: Cluster, apiserver: FakeCluster) -> None:
    put(apiserver, "a")
    started = time.monotonic()
    assert len(list(cluster.watch(CONFIG_MAP, timeout_s=0.4))) == 1
    assert 0.3 < time.monotonic() - started < 3


def test_a_watch_sees_only_what_its_selectors_fit(cluster: Cluster, apiserver: FakeCluster) -> None:
    apiserver.put(pod("other", app="y"))
    apiserver.put(pod("mine", app="x"))
    one = reported(cluster.watch(POD, selector="app=x", timeout_s=20))
    assert one() == "ADDED mine"
    apiserver.put(pod("mine", app="y"))
    assert one() == "DELETED mine"


def test_a_watch_ends_at_once_when_a_right_is_missing(cluster: Cluster, apiserver: FakeCluster) -> None:
    apiserver.denied.add(("list", "configmaps"))
    with pytest.raises(DeniedError, match="may not list configmaps in namespace cams"):
        list(cluster.watch(CONFIG_MAP, timeout_s=20))
