"""Rollouts that continue by themselves while others change the same Service."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from eaves.errors import ConflictError, NotFoundError
from knative import rollout
from knative.client.cluster import Cluster
from knative.resources.metadata import ROLLOUT_ANNOTATION
from knative.rollout import RolloutOutcome
from tests.cluster.rollouts import FIRST, NAME, SECOND, SETTINGS, START, THIRD, advance, deploy, manifest, shares
from tests.fakes.controllers.serving import SERVICE, Serving
from tests.fakes.kubernetes.apiserver import FakeCluster, refusal


def test_shares_that_somebody_else_changes_hold_it_and_are_left_alone(cluster: Cluster, canary: Serving) -> None:
    canary.set_traffic({"revisionName": FIRST, "percent": 100})
    canary.pods["second"].serve(100)
    outcome = advance(cluster, 60)
    assert (outcome.what, outcome.changed) == ("hold", True)
    assert "another user changed the shares" in outcome.reason
    assert shares(canary) == {FIRST: 100}
    owners = [entry["manager"] for entry in canary.service()["metadata"]["managedFields"] if "f:traffic" in str(entry)]
    assert owners == ["kn"], "what they set stays theirs"
    canary.set_traffic({"revisionName": SECOND, "percent": 100})
    assert advance(cluster, 70).what == "nothing"


def test_shares_that_somebody_else_owns_are_not_taken_over(cluster: Cluster, canary: Serving) -> None:
    """A manager that only adds its own tag changes no share, but owns the list from then on."""
    canary.set_traffic({"revisionName": FIRST, "percent": 90, "tag": "mine"}, {"revisionName": SECOND, "percent": 10})
    canary.pods["second"].serve(100)
    outcome = advance(cluster, 60)
    assert (outcome.what, outcome.reason) == ("hold", "the shares were set by kn")
    assert canary.service()["spec"]["traffic"][0]["tag"] == "mine"
    rollout.begin_rollout(cluster, NAME, SETTINGS, adopt=True, now=START + 60)
    assert rollout.promote(cluster, NAME).changed
    assert shares(canary) == {SECOND: 100}


def test_a_third_revision_starts_again_from_the_one_that_had_proven_itself(cluster: Cluster, canary: Serving) -> None:
    deploy(cluster, "r/f@sha256:3")
    outcome = advance(cluster, 10)
    assert outcome.state is not None
    assert (outcome.what, outcome.state.old, outcome.state.new) == ("begin", FIRST, THIRD)
    assert shares(canary) == {FIRST: 100}
    canary.ready(THIRD)
    assert advance(cluster, 11).what == "advance"
    assert shares(canary) == {FIRST: 90, THIRD: 10}
    assert outcome.state.settings == SETTINGS


def test_of_many_who_advance_at_the_same_time_one_does(cluster: Cluster, canary: Serving) -> None:
    canary.pods["second"].serve(100)
    barrier = threading.Barrier(6)

    def go(_: int) -> RolloutOutcome:
        barrier.wait()
        return advance(cluster, 60)

    with ThreadPoolExecutor(6) as threads:
        outcomes = list(threads.map(go, range(6)))
    assert sorted(outcome.what for outcome in outcomes) == ["advance", *["wait"] * 5]
    assert shares(canary) == {FIRST: 50, SECOND: 50}


def test_a_service_that_changes_all_the_time_is_given_up_on_for_now(
    cluster: Cluster, apiserver: FakeCluster, canary: Serving
) -> None:
    canary.pods["second"].serve(100)
    said = "Operation cannot be fulfilled: the object has been modified"
    apiserver.fail(refusal(409, "Conflict", said), times=100, method="PATCH")
    with pytest.raises(ConflictError, match="changes too often to be updated"):
        advance(cluster, 60)
    assert len(apiserver.asked("PATCH", resourceVersion="")) == 0
    assert shares(canary) == {FIRST: 90, SECOND: 10}


@pytest.mark.parametrize("text", ["{", '{"phase":"advancing","new":"x","traffic":{"x":7}}'])
def test_a_damaged_annotation_is_no_rollout_and_that_is_reported(
    cluster: Cluster, apiserver: FakeCluster, canary: Serving, text: str
) -> None:
    service = canary.service()
    service["metadata"]["annotations"][ROLLOUT_ANNOTATION] = text
    apiserver.put(service, manager="kubectl-annotate", namespace="cams")
    outcome = advance(cluster, 60)
    assert (outcome.what, outcome.state) == ("nothing", None)
    assert "there is no rollout" in outcome.reason
    assert shares(canary) == {FIRST: 90, SECOND: 10}
    begun = rollout.begin_rollout(cluster, NAME, SETTINGS, adopt=True, now=START)
    assert begun.state is not None
    assert (begun.state.old, begun.state.percent, begun.advancing) == (FIRST, 10, True)


def test_a_service_without_a_rollout_is_left_alone_unless_settings_come_with_it(
    cluster: Cluster, serving: Serving
) -> None:
    with pytest.raises(NotFoundError, match=f"the function '{NAME}' does not exist in cams of edge"):
        advance(cluster, 0)
    deploy(cluster, "r/f@sha256:1")
    assert advance(cluster, 0).reason == "no rollout was started"
    outcome = rollout.advance_rollout(cluster, NAME, settings=SETTINGS, now=START)
    assert outcome.state is not None
    assert (outcome.what, outcome.state.settings) == ("begin", SETTINGS)


def test_nothing_is_decided_before_knative_has_taken_up_the_last_deploy(cluster: Cluster, canary: Serving) -> None:
    canary.pods["second"].serve(100)
    canary.paused = True
    deploy(cluster, "r/f@sha256:3")
    outcome = advance(cluster, 60)
    assert (outcome.what, outcome.changed) == ("nothing", False)
    canary.take_up()
    assert advance(cluster, 61).what == "begin"


def test_a_service_whose_first_revision_has_no_name_yet_is_waited_for(
    cluster: Cluster, apiserver: FakeCluster, serving: Serving
) -> None:
    serving.paused = True
    deploy(cluster, "r/f@sha256:1")
    apiserver.status(SERVICE, NAME, {"observedGeneration": 1}, namespace="cams")
    assert advance(cluster, 0).reason == "the function has no revision yet"
    assert rollout.begin_rollout(cluster, NAME, SETTINGS, now=START).advancing
    assert advance(cluster, 0).reason == "the function has no revision yet"
    serving.take_up()
    outcome = advance(cluster, 1)
    assert outcome.state is not None
    assert (outcome.what, outcome.state.new, outcome.state.settings) == ("begin", FIRST, SETTINGS)


def test_what_a_gitops_controller_keeps_is_not_touched(
    cluster: Cluster, apiserver: FakeCluster, serving: Serving
) -> None:
    for image, revision in (("r/f@sha256:1", FIRST), ("r/f@sha256:2", SECOND)):
        file = manifest(image, revision=revision)
        file["spec"]["traffic"] = [{"revisionName": FIRST, "latestRevision": False, "percent": 100}]
        apiserver.put(file, manager="argocd-controller", namespace="cams")
        serving.take_up()
        serving.ready(revision)
    version = serving.service()["metadata"]["resourceVersion"]
    assert advance(cluster, 0).what == "nothing"
    with pytest.raises(ConflictError, match="argocd-controller"):
        rollout.set_percent(cluster, NAME, 100)
    assert serving.service()["metadata"]["resourceVersion"] == version


def test_a_rollout_goes_by_the_servers_clock(cluster: Cluster, apiserver: FakeCluster, canary: Serving) -> None:
    apiserver.skew_s = 50_000
    state = rollout.set_percent(cluster, NAME, 20).state
    assert state is not None
    assert state.since == pytest.approx(time.time() + 50_000, abs=30)


def test_only_shares_and_annotation_are_ever_written(cluster: Cluster, apiserver: FakeCluster, canary: Serving) -> None:
    canary.pods["second"].serve(100)
    advance(cluster, 60)
    written = [request.json for request in apiserver.asked("PATCH", fieldManager="eaves-rollout")]
    assert written
    for one in written:
        assert set(one) <= {"apiVersion", "kind", "metadata", "spec"}
        assert set(one.get("spec", {})) <= {"traffic"}
        assert set(one["metadata"]) == {"name", "namespace", "uid", "resourceVersion", "annotations"}
        assert set(one["metadata"]["annotations"]) == {ROLLOUT_ANNOTATION}
    assert canary.service()["spec"]["template"]["spec"]["containers"] == [{"image": "r/f@sha256:2"}]
