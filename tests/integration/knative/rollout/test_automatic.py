"""Rollouts that go on by themselves, over an API apiserver that keeps state and pods that count what they answer."""

from __future__ import annotations

import pytest

from knative import rollout
from knative.client.cluster import Cluster
from tests.cluster.rollouts import FIRST, NAME, SECOND, SETTINGS, START, advance, deploy, redeploy, shares
from tests.fakes.controllers.serving import Serving
from tests.fakes.kubernetes.apiserver import FakeCluster, Reply


@pytest.fixture
def redeployed(cluster: Cluster, serving: Serving) -> Serving:
    redeploy(cluster, serving)
    return serving


# The first revision


def test_the_first_revision_gets_everything_once_it_is_ready_and_is_pinned(cluster: Cluster, serving: Serving) -> None:
    deploy(cluster, "r/f@sha256:1")
    begun = rollout.begin_rollout(cluster, NAME, SETTINGS, now=START)
    assert begun.advancing
    assert advance(cluster, 5).what == "wait"
    serving.ready(FIRST, False, message="no room")
    assert "no room" in advance(cluster, 10_000).reason
    serving.ready(FIRST)
    outcome = advance(cluster, 10_001)
    assert (outcome.what, outcome.changed, outcome.advancing) == ("finish", True, False)
    assert serving.service()["spec"]["traffic"] == [{"revisionName": FIRST, "percent": 100, "latestRevision": False}]


# By steps


def test_it_goes_by_steps_to_everything(cluster: Cluster, canary: Serving) -> None:
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


def test_looking_again_when_nothing_has_come_writes_nothing(cluster: Cluster, canary: Serving) -> None:
    canary.pods["second"].serve(5)
    assert advance(cluster, 5).changed
    version = canary.service()["metadata"]["resourceVersion"]
    assert not advance(cluster, 10).changed
    assert canary.service()["metadata"]["resourceVersion"] == version


# Rolled back


def test_it_is_rolled_back_when_it_keeps_failing_more_often(cluster: Cluster, canary: Serving) -> None:
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


def test_it_is_rolled_back_with_the_message_of_a_revision_that_fails(cluster: Cluster, redeployed: Serving) -> None:
    redeployed.ready(SECOND)
    advance(cluster, 0)
    redeployed.ready(SECOND, False, message="golden image 3 differs")
    outcome = advance(cluster, 10)
    assert (outcome.what, outcome.advancing) == ("roll back", False)
    assert "golden image 3 differs" in outcome.reason
    assert shares(redeployed) == {FIRST: 100}


# Held


def test_too_few_requests_at_the_deadline_hold_it_for_somebody_to_decide(cluster: Cluster, canary: Serving) -> None:
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


def test_pods_that_cant_be_asked_hold_it_and_are_reported(
    cluster: Cluster, apiserver: FakeCluster, canary: Serving
) -> None:
    canary.pods["second"].serve(100)
    canary.pods["second"].answer = Reply(status=500)
    canary.pods["first"].answer = Reply(body=b"go_goroutines 7\n")
    outcome = advance(cluster, 60)
    assert "the metrics of 2 of the pods can't be read (first: /metrics has no counters of requests" in outcome.reason
    assert outcome.what == "wait"
    apiserver.denied.add(("list", "pods"))
    assert advance(cluster, 600).what == "hold"
