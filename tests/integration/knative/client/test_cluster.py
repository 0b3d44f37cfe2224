"""A cluster through its API server: the official client's connections against a server that keeps state."""

import time

import pytest

from eaves.errors import AbsentError, ConflictError
from knative.client.cluster import Cluster
from knative.client.kinds import CONFIG_MAP, KSERVICE, POD
from tests.cluster.simulated import config_map, service
from tests.fakes.kubernetes.apiserver import FakeCluster


def test_an_object_is_made_and_changed_by_applying_it(cluster: Cluster, apiserver: FakeCluster):
    made = cluster.apply(service(), manager="eaves")
    assert (made["metadata"]["namespace"], made["metadata"]["generation"]) == ("cams", 1)
    changed = cluster.apply(service("r/f@sha256:2"), manager="eaves")
    assert changed["metadata"]["generation"] == 2
    found = cluster.get(KSERVICE, "flowers")
    assert found is not None
    assert found["spec"]["template"]["spec"]["containers"] == [{"image": "r/f@sha256:2"}]
    assert apiserver.asked("PATCH", fieldValidation="Strict", fieldManager="eaves")


def test_an_apply_over_an_older_version_is_a_conflict(cluster: Cluster):
    version = cluster.apply(service(), manager="eaves")["metadata"]["resourceVersion"]
    cluster.apply(service("r/f@sha256:2"), manager="eaves")
    late = service("r/f@sha256:3")
    late["metadata"]["resourceVersion"] = version
    with pytest.raises(ConflictError, match="the object has been modified") as caught:
        cluster.apply(late, manager="eaves")
    assert caught.value.causes == ()


def test_a_cluster_without_a_kind_says_so_when_applied_to(cluster: Cluster, apiserver: FakeCluster):
    apiserver.unserved.add("serving.knative.dev/v1")
    with pytest.raises(AbsentError, match=r"does not have services\.serving\.knative\.dev"):
        cluster.apply(service(), manager="eaves")
    assert cluster.get(KSERVICE, "flowers") is None
    assert cluster.list(KSERVICE) == []
    assert cluster.delete(KSERVICE, "flowers") is False
    assert (cluster.serves("serving.knative.dev/v1"), cluster.serves("apps/v1"), cluster.serves("v1")) == (
        False,
        True,
        True,
    )


def test_a_watch_tells_what_is_there_and_then_what_changes(cluster: Cluster, apiserver: FakeCluster):
    apiserver.put(config_map("a"), namespace="cams")
    seen = cluster.watch(CONFIG_MAP, "a", timeout_s=20)
    assert (next(seen) or {})["data"] == {}
    apiserver.put(config_map("a", x="1"), namespace="cams")
    assert (next(seen) or {})["data"] == {"x": "1"}
    apiserver.remove("ConfigMap", "a", namespace="cams")
    assert next(seen) is None
    started = time.monotonic()
    assert list(cluster.watch(CONFIG_MAP, "a", timeout_s=0.2)) == [None]
    assert time.monotonic() - started < 3


def test_rights_versions_and_the_clock_are_the_servers(cluster: Cluster, apiserver: FakeCluster):
    apiserver.denied.add(("get", "pods/log"))
    assert cluster.allowed("patch", KSERVICE)
    assert cluster.allowed("get", POD)
    assert not cluster.allowed("get", POD, subresource="log")
    assert cluster.version() == "v1.36.2"
    apiserver.skew_s = 300
    assert cluster.clock() - time.time() == pytest.approx(300, abs=5)
