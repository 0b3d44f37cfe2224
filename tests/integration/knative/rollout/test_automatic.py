"""Rollouts that go on by themselves, over an API server that keeps state, also while others change the same Service."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from eaves.errors import ConflictError
from eaves.rollout import AuditCounts
from knative import rollout
from knative.client.cluster import Cluster
from knative.resources.metadata import ROLLOUT_ANNOTATION
from knative.rollout import RolloutOutcome
from knative.status.traffic import parse_rollout_status
from tests.cluster.rollouts import FIRST, NAME, SECOND, SETTINGS, START, THIRD, advance, deploy, redeploy, shares
from tests.fakes.controllers.serving import Serving
from tests.fakes.kubernetes.apiserver import FakeCluster, Reply


@pytest.fixture
def redeployed(cluster: Cluster, serving: Serving) -> Serving:
    redeploy(cluster, serving)
    return serving


def test_it_goes_by_steps_to_everything(cluster: Cluster, canary: Serving):
    second = canary.pods["second"]
    second.serve(19)
    assert "19 of 20" in advance(cluster, 61).reason
    second.serve(1)
    assert "59 of 60 s" in advance(cluster, 59).reason
    assert shares(canary) == {FIRST: 90, SECOND: 10}
    assert advance(cluster, 60).what == "advance"
    assert shares(canary) == {FIRST: 50, SECOND: 50}
    assert "0 of 20" in advance(cluster, 130).reason, "a step counts its own requests"
    second.serve(20)
    canary.pods["first"].serve(20)
    outcome = advance(cluster, 131)
    assert (outcome.what, outcome.advancing) == ("finish", False)
    assert shares(canary) == {SECOND: 100}
    assert advance(cluster, 10_000).what == "nothing"


def test_looking_again_when_nothing_has_come_writes_nothing(cluster: Cluster, canary: Serving):
    canary.pods["second"].serve(5)
    assert advance(cluster, 5).changed
    version = canary.service()["metadata"]["resourceVersion"]
    assert not advance(cluster, 10).changed
    assert canary.service()["metadata"]["resourceVersion"] == version


def test_it_is_rolled_back_when_it_keeps_failing_more_often(cluster: Cluster, canary: Serving):
    for number in range(3):
        canary.pods["first"].serve(60)
        canary.pods["second"].serve(5, failed=5)
        outcome = advance(cluster, 16 * number + 16)
        assert outcome.what == ("wait" if number < 2 else "roll back"), "what fails at two moments decides nothing"
    assert "15 of 30 requests failed" in outcome.reason
    assert "(before: 0 of 180)" in outcome.reason
    assert canary.service()["spec"]["traffic"] == [{"revisionName": FIRST, "percent": 100, "latestRevision": False}]
    assert advance(cluster, 1000).what == "nothing", "it isn't tried again"
    assert rollout.begin_rollout(cluster, NAME, SETTINGS, now=START).state == outcome.state


def test_it_is_rolled_back_with_the_message_of_a_revision_that_fails(cluster: Cluster, redeployed: Serving):
    redeployed.ready(SECOND)
    advance(cluster, 0)
    redeployed.ready(SECOND, False, message="golden image 3 differs")
    outcome = advance(cluster, 10)
    assert (outcome.what, outcome.advancing) == ("roll back", False)
    assert "golden image 3 differs" in outcome.reason
    assert shares(redeployed) == {FIRST: 100}


def test_it_is_rolled_back_by_labelled_audit_images_that_are_about_these_two_revisions(
    cluster: Cluster, canary: Serving
):
    state = parse_rollout_status(canary.service()).state
    assert state is not None
    counts = AuditCounts(images=40, lost=17, gained=1)
    others = rollout.store_audit(cluster, NAME, replace(state, new="flowers-00009"), counts)
    assert (others.changed, others.reason) == (False, "another rollout has begun")
    assert advance(cluster, 10).what == "wait"
    assert rollout.store_audit(cluster, NAME, state, counts).changed
    outcome = advance(cluster, 20)
    assert outcome.what == "roll back"
    assert outcome.reason.startswith(
        "on 40 audit images the new model is wrong on 17 that the old one answered rightly"
    )
    assert shares(canary) == {FIRST: 100}


def test_too_few_requests_at_the_deadline_hold_it_for_somebody_to_decide(cluster: Cluster, canary: Serving):
    canary.pods["second"].serve(3)
    canary.pods["second"].serve(40, status=429)
    outcome = advance(cluster, 600)
    assert (outcome.what, outcome.advancing) == ("hold", False)
    assert "3 of 20" in outcome.reason
    assert shares(canary) == {FIRST: 100} == outcome.shares
    assert advance(cluster, 900).reason == outcome.reason
    assert advance(cluster, 900).what == "nothing", "only a person lets it go on"
    rollout.begin_rollout(cluster, NAME, SETTINGS, again=True, now=START + 900)
    assert advance(cluster, 901).what == "advance"
    assert shares(canary) == {FIRST: 90, SECOND: 10}
    canary.pods["second"].serve(20)
    assert advance(cluster, 961).what == "advance", "with requests of this step"


def test_pods_that_cant_be_asked_hold_it_and_are_reported(cluster: Cluster, apiserver: FakeCluster, canary: Serving):
    canary.pods["second"].serve(100)
    canary.pods["second"].answer = Reply(status=500)
    canary.pods["first"].answer = Reply(body=b"go_goroutines 7\n")
    outcome = advance(cluster, 60)
    assert "the metrics of 2 of the pods can't be read (first: /metrics has no counters of requests" in outcome.reason
    assert outcome.what == "wait"
    apiserver.denied.add(("list", "pods"))
    assert advance(cluster, 600).what == "hold"


def test_shares_that_somebody_else_changes_hold_it_and_are_left_alone(cluster: Cluster, canary: Serving):
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


def test_shares_that_somebody_else_owns_are_not_taken_over(cluster: Cluster, canary: Serving):
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
):
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


def test_a_third_revision_starts_again_from_the_one_that_had_proven_itself(cluster: Cluster, canary: Serving):
    deploy(cluster, "r/f@sha256:3")
    outcome = advance(cluster, 10)
    assert outcome.state is not None
    assert (outcome.what, outcome.state.old, outcome.state.new) == ("begin", FIRST, THIRD)
    assert shares(canary) == {FIRST: 100}
    canary.ready(THIRD)
    assert advance(cluster, 11).what == "advance"
    assert shares(canary) == {FIRST: 90, THIRD: 10}
    assert outcome.state.settings == SETTINGS


def test_of_many_who_advance_at_the_same_time_one_does(cluster: Cluster, canary: Serving):
    canary.pods["second"].serve(100)
    barrier = threading.Barrier(6)

    def go(_: int) -> RolloutOutcome:
        barrier.wait()
        return advance(cluster, 60)

    with ThreadPoolExecutor(6) as threads:
        outcomes = list(threads.map(go, range(6)))
    assert sorted(outcome.what for outcome in outcomes) == ["advance", *["wait"] * 5]
    assert shares(canary) == {FIRST: 50, SECOND: 50}


def test_only_shares_and_annotation_are_ever_written(cluster: Cluster, apiserver: FakeCluster, canary: Serving):
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
