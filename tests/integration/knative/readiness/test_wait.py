"""Waiting for a function over HTTP: a simulated cluster whose Knative does one thing or another."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eaves.errors import StartError, UnreachableClusterError
from knative.client.cluster import Cluster, open_cluster
from knative.readiness.wait import DeploymentProgress, wait_ready
from tests.cluster.expanded import (
    NAME,
    NAMESPACE,
    POD,
    REVISION,
    Manifest,
    condition,
    container,
    ended,
    event,
    failed_service,
    pod,
    ready_service,
    revision,
    service,
    waiting,
)
from tests.fakes.kubernetes.apiserver import FakeCluster, open_apiserver
from tests.fakes.kubernetes.cluster import Reply
from tests.waiting import wait_until

POLL_S = 0.1


@pytest.fixture
def server() -> Iterator[FakeCluster]:
    with open_apiserver() as running:
        yield running


@pytest.fixture
def cluster(server: FakeCluster, tmp_path: Path) -> Cluster:
    return open_cluster(kubeconfig=server.kubeconfig(tmp_path / "kubeconfig", namespace=NAMESPACE), timeout_s=2)


def put(server: FakeCluster, *values: Manifest) -> None:
    for value in values:
        server.put({**value, "metadata": {key: v for key, v in value["metadata"].items() if key != "uid"}})


def wait(cluster: Cluster, timeout_s: float = 10.0) -> list[DeploymentProgress]:
    """Everything that was shown."""
    shown: list[DeploymentProgress] = []
    wait_ready(cluster, NAME, timeout_s=timeout_s, show=shown.append, poll_s=POLL_S)
    return shown


def fail(cluster: Cluster, timeout_s: float = 10.0) -> StartError:
    with pytest.raises(StartError) as caught:
        wait(cluster, timeout_s)
    return caught.value


def test_what_is_ready_is_not_waited_for(server: FakeCluster, cluster: Cluster) -> None:
    put(server, ready_service(), revision(condition("Ready", "True")), pod(container(ready=True), ready=True))
    (shown,) = wait(cluster)
    assert shown.rows() == [
        {"what": REVISION, "state": "ready", "detail": f"100 % {REVISION}"},
        {"what": POD, "state": "Ready", "detail": "2/2 on node1"},
    ]


def test_it_is_ready_when_the_service_says_so(server: FakeCluster, cluster: Cluster) -> None:
    put(server, service(), revision(), pod(waiting("ContainerCreating")))
    shown: list[DeploymentProgress] = []
    done = threading.Event()

    def run() -> None:
        wait_ready(cluster, NAME, timeout_s=20, show=shown.append, poll_s=POLL_S)
        done.set()

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: shown)
    assert not done.is_set()
    assert [row["state"] for row in shown[-1].rows()] == ["not ready (RevisionMissing)", "ContainerCreating"]
    put(server, ready_service())
    thread.join(timeout=10)
    assert done.is_set()
    assert shown[-1].rows()[0]["state"] == "ready"


def test_a_newer_generation_that_knative_has_not_seen_is_waited_for(server: FakeCluster, cluster: Cluster) -> None:
    put(server, {**ready_service(), "spec": {"template": {"changed": True}}})
    stale = ready_service(observedGeneration=0)
    put(server, {**stale, "spec": {"template": {"changed": True}}})
    error = fail(cluster, timeout_s=0.5)
    assert "last state: flowers-00001 not ready (OutOfDate)" in error.message


def test_what_never_comes_right_ends_it_early(server: FakeCluster, cluster: Cluster) -> None:
    put(server, service(), revision(), pod(waiting("ErrImagePull", "manifest unknown")))
    error = fail(cluster, timeout_s=60)
    assert error.message.startswith(
        "flowers can't start: node node1 can't pull the container image registry.test:5000/flowers"
    )
    assert error.hint is not None
    assert "knative.image" in error.hint


def test_what_may_come_right_is_shown_and_waited_for(server: FakeCluster, cluster: Cluster) -> None:
    stuck = pod(scheduled="0/1 nodes are available: 1 Insufficient cpu.")
    put(server, failed_service("0/1 nodes are available"), revision(), stuck)
    shown: list[DeploymentProgress] = []
    with pytest.raises(StartError) as caught:
        wait_ready(cluster, NAME, timeout_s=1.5, show=shown.append, poll_s=POLL_S)
    assert caught.value.message.startswith("flowers was not ready within 1.5 s: the pod can't be scheduled on any node")
    assert caught.value.hint is not None
    assert "lower knative.pod.resources.requests.cpu" in caught.value.hint
    assert len(shown) > 1
    assert shown[-1].rows()[-1]["state"] == "unschedulable"
    assert shown[-1].waited_s > shown[0].waited_s


def test_what_was_wrong_is_remembered_when_its_pods_have_gone(server: FakeCluster, cluster: Cluster) -> None:
    put(server, service(), revision(), pod(waiting("ErrImagePull", "dial tcp: i/o timeout")))
    shown: list[DeploymentProgress] = []

    def show(progress: DeploymentProgress) -> None:
        shown.append(progress)
        if progress.diagnosis is not None and server.all("Pod", namespace=NAMESPACE):
            server.remove("Pod", POD, namespace=NAMESPACE)

    with pytest.raises(StartError) as caught:
        wait_ready(cluster, NAME, timeout_s=2, show=show, poll_s=POLL_S)
    assert shown[-1].diagnosis is None
    assert "can't pull the container image registry.test:5000" in caught.value.message


def test_a_running_function_tells_in_its_log_why_it_is_never_ready(server: FakeCluster, cluster: Cluster) -> None:
    put(server, service(), revision(), pod(container()))
    assert "last state" in fail(cluster, timeout_s=0.4).message, "it may still load"
    line = json.dumps({"level": "error", "message": "never ready: golden image 3 differs (try: eaves verify ARTIFACT)"})
    server.write_log(POD, "starting", line, container="user-container", namespace=NAMESPACE)
    error = fail(cluster)
    assert error.message == "flowers can't start: the function reports: golden image 3 differs"
    assert error.hint == "eaves verify ARTIFACT"


def test_what_is_denied_is_not_asked_again(server: FakeCluster, cluster: Cluster) -> None:
    server.denied = {("get", "pods/log")}
    put(server, service(), revision(), pod(container()))
    assert "last state" in fail(cluster, timeout_s=0.6).message
    assert len(server.asked("GET", "/log")) == 1


def test_the_last_words_of_a_process_that_ended(server: FakeCluster, cluster: Cluster) -> None:
    put(server, service(), revision(), pod(ended(1, restarts=3)))
    server.write_log(POD, "ValueError: bad label", container="user-container:previous", namespace=NAMESPACE)
    assert fail(cluster).message == (
        "flowers can't start: the process ended with exit code 1, 3 times: ValueError: bad label"
    )


def test_events_are_read_where_only_they_tell(server: FakeCluster, cluster: Cluster) -> None:
    put(server, service(), revision(), pod(waiting("ContainerCreating")))
    reported = event("FailedMount", 'MountVolume.SetUp failed for volume "v" : configmap "x" not found')
    del reported["involvedObject"]["uid"]
    server.put({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e1", "namespace": NAMESPACE}, **reported})
    assert "a volume can't be mounted" in fail(cluster, timeout_s=0.4).message


def test_who_may_only_read_the_service_gets_the_service(server: FakeCluster, cluster: Cluster) -> None:
    kinds = ("pods", "events")
    server.denied = {("list", kind) for kind in kinds} | {("get", "revisions.serving.knative.dev")}
    taken = 'There is an existing placeholder Service "flowers" that we do not own.'
    put(server, service(condition("RoutesReady", "False", "NotOwned", taken), condition("Ready", "False", "NotOwned")))
    error = fail(cluster)
    assert "the name is in use: Service flowers in the namespace barn" in error.message


def test_traffic_that_leads_nowhere_is_left_to_who_promotes(server: FakeCluster, cluster: Cluster) -> None:
    gone = 'Revision "flowers-00000" referenced in traffic not found.'
    states = [condition(kind, "False", "RevisionMissing", gone) for kind in ("Ready", "RoutesReady")]
    put(server, service(condition("ConfigurationsReady", "True"), *states, latestReadyRevisionName=REVISION))
    put(server, revision(condition("Ready", "True")))
    (shown,) = wait(cluster)
    assert shown.diagnosis is not None
    assert shown.diagnosis.cause == "routing"


def test_one_that_is_removed_meanwhile(server: FakeCluster, cluster: Cluster) -> None:
    put(server, service())
    shown: list[DeploymentProgress] = []

    def show(progress: DeploymentProgress) -> None:
        if not shown:
            server.remove("serving.knative.dev/v1/Service", NAME, namespace=NAMESPACE)
        shown.append(progress)

    with pytest.raises(StartError, match="another user removed it"):
        wait_ready(cluster, NAME, timeout_s=10, show=show, poll_s=POLL_S)


def test_a_link_that_is_down_meanwhile_is_waited_for(server: FakeCluster, cluster: Cluster) -> None:
    put(server, service(), revision())
    shown: list[DeploymentProgress] = []

    def show(progress: DeploymentProgress) -> None:
        if progress.unreachable:
            server.fault = lambda request: None
            put(server, ready_service())
        elif not shown:
            server.fault = lambda request: Reply(status=0)
        shown.append(progress)

    wait_ready(cluster, NAME, timeout_s=30, show=show, poll_s=POLL_S)
    lost = next(one for one in shown if one.unreachable)
    assert lost.rows()[-1]["state"] == "no answer"
    assert lost.rows()[0]["what"] == REVISION, "what was seen last is still shown"


def test_a_link_that_stays_down(server: FakeCluster, cluster: Cluster) -> None:
    put(server, service(), revision())
    server.fault = lambda request: Reply(status=0)
    with pytest.raises(UnreachableClusterError):
        wait_ready(cluster, NAME, timeout_s=0.3, poll_s=POLL_S)


def test_a_table_tells_restarts_and_nodes(server: FakeCluster, cluster: Cluster) -> None:
    values: dict[str, Any] = {"deletionTimestamp": "2026-11-25T09:53:00Z", "finalizers": ["x/y"]}
    put(server, ready_service(), pod(container(ready=True, restartCount=2), ready=True, **values))
    (shown,) = wait(cluster)
    assert shown.rows()[1] == {"what": POD, "state": "Terminating", "detail": "2/2, restarted 2 times on node1"}
