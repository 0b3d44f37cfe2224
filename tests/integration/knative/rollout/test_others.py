"""Rollouts that continue by themselves while others change the same Service."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from eaves.errors import ConflictError
from knative import rollout
from knative.client.cluster import Cluster
from knative.resources.metadata import ROLLOUT_ANNOTATION
from knative.rollout import RolloutOutcome
from tests.cluster.rollouts import FIRST, NAME, SECOND, SETTINGS, START, THIRD, advance, deploy, shares
from tests.fakes.controllers.serving import Serving
from tests.fakes.kubernetes.apiserver import FakeCluster


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
    with pytest.raises(ConflictError, match="the shares of flowers were set by kn"):
        advance(cluster, 60)
    assert canary.service()["spec"]["traffic"][0]["tag"] == "mine"
    rollout.begin_rollout(cluster, NAME, SETTINGS, adopt=True, now=START + 60)
    assert rollout.promote(cluster, NAME).changed
    assert shares(canary) == {SECOND: 100}


def test_tags_of_others_outlive_a_takeover_but_that_of_a_revision_that_is_rolled_back(
    cluster: Cluster, canary: Serving
) -> None:
    tags = [
        {"revisionName": FIRST, "percent": 0, "tag": "old", "latestRevision": False},
        {"revisionName": SECOND, "percent": 0, "tag": "new", "latestRevision": False},
        {"latestRevision": True, "percent": 0, "tag": "candidate"},
    ]
    canary.set_traffic({"revisionName": FIRST, "percent": 90}, {"revisionName": SECOND, "percent": 10}, *tags)
    rollout.begin_rollout(cluster, NAME, SETTINGS, adopt=True, now=START)
    assert canary.service()["spec"]["traffic"][2:] == tags
    rollout.promote(cluster, NAME)
    assert canary.service()["spec"]["traffic"][1:] == tags
    rollout.rollback(cluster, NAME)
    assert canary.service()["spec"]["traffic"][1:] == [tags[0], tags[2]], "no route is set while one in it may fail"


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


def test_a_damaged_annotation_is_no_rollout_and_that_is_reported(
    cluster: Cluster, apiserver: FakeCluster, canary: Serving
) -> None:
    service = canary.service()
    service["metadata"]["annotations"][ROLLOUT_ANNOTATION] = "{"
    apiserver.put(service, manager="kubectl-annotate", namespace="cams")
    outcome = advance(cluster, 60)
    assert (outcome.what, outcome.state) == ("nothing", None)
    assert "there is no rollout" in outcome.reason
    assert shares(canary) == {FIRST: 90, SECOND: 10}
    begun = rollout.begin_rollout(cluster, NAME, SETTINGS, adopt=True, now=START)
    assert begun.state is not None
    assert (begun.state.old, begun.state.percent, begun.advancing) == (FIRST, 10, True)


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
