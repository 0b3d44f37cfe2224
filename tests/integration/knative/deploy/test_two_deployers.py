"""Two commands deploy, promote or reconcile one app at once: one wins, the other's error says who won and when."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from eaves.errors import ConflictError
from knative import rollout
from knative.client.cluster import Cluster
from knative.platform import KnativePlatform
from knative.settings import KnativeSettings
from tests.cluster.apps import IMAGE, NAME
from tests.cluster.deploys import HOME, SITE, Meanwhile, last
from tests.cluster.deploys import update as deploy
from tests.cluster.rollouts import FIRST, shares
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import FakeCluster, Request

OTHER = "registry.example/barn/flowers@sha256:" + "d" * 64
THIRD = "registry.example/barn/flowers@sha256:" + "e" * 64


def deployed(knative: Knative) -> str:
    return str(knative.service()["spec"]["template"]["spec"]["containers"][0]["image"])


class Meeting:
    """Two who are about to record a deployment go on together; whatever comes later passes."""

    def __init__(self) -> None:
        self._both = threading.Barrier(2, timeout=30)
        self._passed = threading.Event()

    def __call__(self, request: Request) -> None:
        records = request.method == "PATCH" and "configmaps" in request.path and b'\\"by\\"' in request.body
        if records and not self._passed.is_set():
            self._both.wait()
            self._passed.set()


def test_of_two_who_take_the_same_number_one_wins_and_the_other_applies_nothing(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    deploy(cluster, IMAGE, by="jane@laptop")
    apiserver.fault = Meeting()
    with ThreadPoolExecutor(2) as pool:
        tries = [pool.submit(deploy, cluster, image, by=by) for image, by in ((OTHER, "bob@desk"), (THIRD, "eve@ci"))]
        errors = [one.exception(60) for one in tries]
    (lost,) = [error for error in errors if error is not None]
    assert isinstance(lost, ConflictError)
    winner = last(cluster)
    assert f"{winner.by} deployed {winner.image} at 20" in lost.message
    assert lost.message.endswith("this one stopped before anything was applied")
    other = OTHER if winner.image == THIRD else THIRD
    assert lost.hint == f"eaves deploy {other} --site barn   # to replace that deploy after it has finished"
    assert (winner.sequence, deployed(knative)) == (2, winner.image)


def test_a_deploy_that_another_overtakes_stops_before_it_applies_the_function(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    deploy(cluster, IMAGE, by="jane@laptop", extra="old")
    apiserver.fault = Meanwhile("/daemonsets/", "PATCH", lambda: deploy(cluster, THIRD, by="bob@desk", extra="old"))
    with pytest.raises(ConflictError, match=r"bob@desk deployed \S+ at 20.*during this deploy") as e:
        deploy(cluster, OTHER, by="jane@laptop")
    assert e.value.hint == f"eaves deploy {OTHER} --site barn   # to replace that deploy after it has finished"
    assert "the later deploy takes precedence, and this one stopped before the rest was applied" in e.value.message
    assert (deployed(knative), last(cluster).image) == (THIRD, THIRD)
    assert apiserver.get("eventing.knative.dev/v1/Trigger", "flowers-old", namespace=HOME), "nothing was pruned"
    assert shares(knative) == {FIRST: 100}


def test_a_deploy_that_another_overtakes_removes_nothing(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    deploy(cluster, IMAGE, by="jane@laptop", extra="old")
    apiserver.fault = Meanwhile("/triggers/", "PATCH", lambda: deploy(cluster, OTHER, by="bob@desk", extra="old"))
    with pytest.raises(ConflictError, match="stopped before anything was removed"):
        deploy(cluster, OTHER, by="jane@laptop")
    assert apiserver.get("eventing.knative.dev/v1/Trigger", "flowers-old", namespace=HOME)


def test_the_deploy_that_wins_sees_a_late_apply_of_the_other_before_its_rollout_begins(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    deploy(cluster, IMAGE, by="jane@laptop")
    late = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": NAME, "namespace": HOME, "labels": knative.service()["metadata"]["labels"]},
        "spec": {"template": knative.service()["spec"]["template"]},
    }

    def show(progress: object) -> None:
        if not done:
            done.append(progress)
            cluster.apply(late, manager="eaves")

    done: list[object] = []
    deploy(cluster, OTHER, by="bob@desk", show=show)
    assert done
    assert deployed(knative) == OTHER
    state = rollout.parse_rollout_status(knative.service()).state
    assert state is not None
    assert state.new == knative.service()["status"]["latestCreatedRevisionName"]


def test_a_deploy_that_another_overtakes_while_it_waits_begins_no_rollout(cluster: Cluster, knative: Knative) -> None:
    deploy(cluster, IMAGE, by="jane@laptop")
    done: list[object] = []

    def show(progress: object) -> None:
        if not done:
            done.append(deploy(cluster, THIRD, by="bob@desk", ready_s=0))

    with pytest.raises(ConflictError, match=r"bob@desk deployed \S+ at .* stopped before its rollout began"):
        deploy(cluster, OTHER, by="jane@laptop", show=show)
    assert shares(knative) == {FIRST: 100}
    assert deployed(knative) == THIRD


def test_a_promotion_that_waits_while_another_deploys_promotes_nothing(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    deploy(cluster, IMAGE, by="jane@laptop")
    deploy(cluster, OTHER, by="jane@laptop")
    apiserver.fault = Meanwhile(
        "/configmaps/", "GET", lambda: deploy(cluster, THIRD, by="bob@desk", ready_s=0), after=1
    )
    platform = KnativePlatform(cluster, KnativeSettings(), SITE, by="jane@laptop", ready_timeout_s=10)
    with pytest.raises(ConflictError, match=r"bob@desk deployed \S+ at .* nothing was promoted") as e:
        platform.promote(NAME)
    assert e.value.hint == "eaves promote flowers --site barn   # to promote the newest deployment"
    assert shares(knative) == {FIRST: 100}
    platform.promote(NAME)
    assert shares(knative) == {"flowers-00003": 100}
