"""What a trigger's delivery no longer has goes from its Subscription too, where Knative would leave it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from eaves.errors import ClusterError, DeniedError
from eaves.platform import DeliverySettings
from knative.client.cluster import Cluster
from knative.deploy.ownership import CHANGED, UNCHANGED
from knative.specs import ClusterApp, ClusterRelay
from tests.cluster.apps import NAME, full_settings, plain_app, relayed_app
from tests.cluster.deploys import HOME, deploy, outcomes
from tests.fakes.controllers.knative import SUBSCRIPTION, TRIGGER, Knative
from tests.fakes.kubernetes.apiserver import FakeCluster, Reply, Request

SINK = "http://dead.barn.svc.cluster.local/"


def app_with(**delivery: Any) -> ClusterApp:
    """An app whose trigger has this delivery."""
    app = plain_app()
    return replace(app, triggers=(replace(app.triggers[0], delivery=DeliverySettings(**delivery)),))


def subscription(server: FakeCluster, trigger: str = NAME) -> dict[str, Any]:
    (found,) = [
        one
        for one in server.all(SUBSCRIPTION, namespace=HOME)
        if one["metadata"]["labels"]["eventing.knative.dev/trigger"] == trigger
    ]
    return found


def delivery(server: FakeCluster, trigger: str = NAME) -> Mapping[str, Any]:
    found: Mapping[str, Any] = subscription(server, trigger)["spec"]["delivery"]
    return found


def test_a_dead_letter_sink_that_is_taken_away_goes_from_the_subscription(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    deploy(cluster, app_with(dead_letter_sink=SINK))
    before = subscription(apiserver)
    assert before["spec"]["delivery"]["deadLetterSink"] == {"uri": SINK}
    done = outcomes(deploy(cluster, app_with()))
    assert done[CHANGED] == {f"Trigger/{NAME}"}
    assert "deadLetterSink" not in delivery(apiserver)
    uid = subscription(apiserver)["metadata"]["uid"]
    assert uid == before["metadata"]["uid"], "events that come while there is no Subscription are lost"
    assert outcomes(deploy(cluster, app_with())).keys() == {UNCHANGED}


def test_a_number_of_retries_that_becomes_zero_reaches_the_subscription(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    deploy(cluster, app_with(retry=3))
    deploy(cluster, app_with(retry=0))
    assert delivery(apiserver)["retry"] == 0
    deploy(cluster, app_with(retry=3))
    assert delivery(apiserver)["retry"] == 3


def test_another_value_is_left_to_knative(cluster: Cluster, knative: Knative, apiserver: FakeCluster) -> None:
    deploy(cluster, app_with(dead_letter_sink=SINK, retry=3))
    deploy(cluster, app_with(dead_letter_sink="http://other.barn.svc.cluster.local/", retry=4))
    assert delivery(apiserver)["retry"] == 4
    assert apiserver.asked("PATCH", "/subscriptions") == []


def test_a_relay_leaves_the_subscription_before_its_service_goes(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    app = relayed_app()
    deploy(cluster, app, full_settings())
    assert delivery(apiserver)["deadLetterSink"]["ref"]["name"] == f"{NAME}-relay"
    before = len(apiserver.log)
    deploy(cluster, replace(app, relay=ClusterRelay()), full_settings())
    assert "deadLetterSink" not in delivery(apiserver)
    sent = [f"{one.method} {one.path}" for one in apiserver.log[before:]]
    (patched,) = [index for index, one in enumerate(sent) if one.startswith("PATCH") and "/subscriptions/" in one]
    assert patched < sent.index(f"DELETE /api/v1/namespaces/{HOME}/services/{NAME}-relay")


@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_a_command_killed_before_the_subscription_is_changed_continues_the_next_time(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster, method: str
) -> None:
    deploy(cluster, app_with(dead_letter_sink=SINK))
    apiserver.fail(Reply(status=500), times=100, method=method, path="/subscriptions")
    with pytest.raises(ClusterError):
        deploy(cluster, app_with())
    assert delivery(apiserver)["deadLetterSink"] == {"uri": SINK}
    apiserver.fault = lambda request: None
    deploy(cluster, app_with())
    assert "deadLetterSink" not in delivery(apiserver)


def test_the_subscription_is_changed_once_knative_has_seen_the_trigger(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    deploy(cluster, app_with(dead_letter_sink=SINK))
    knative.held.add("Trigger")
    looks: list[int] = []

    def observe(request: Request) -> Reply | None:
        if request.method == "GET" and "fieldSelector" in str(request):
            assert not apiserver.asked("PATCH", "/subscriptions/")
            looks.append(1)
            if len(looks) == 2:
                generation = apiserver.get(TRIGGER, NAME, namespace=HOME)["metadata"]["generation"]
                apiserver.status(TRIGGER, NAME, {"observedGeneration": generation}, namespace=HOME)
        return None

    apiserver.fault = observe
    deploy(cluster, app_with())
    assert len(looks) == 2
    assert "deadLetterSink" not in delivery(apiserver)


def test_a_sink_that_somebody_else_set_is_theirs(cluster: Cluster, knative: Knative, apiserver: FakeCluster) -> None:
    deploy(cluster, app_with())
    trigger = apiserver.get(TRIGGER, NAME, namespace=HOME)
    trigger["spec"]["delivery"]["deadLetterSink"] = {"uri": SINK}
    apiserver.put(trigger, manager="kubectl-edit", namespace=HOME)
    apiserver.status(TRIGGER, NAME, {"observedGeneration": 99}, namespace=HOME)
    deploy(cluster, app_with())
    assert apiserver.asked("PATCH", "/subscriptions") == []
    assert apiserver.get(TRIGGER, NAME, namespace=HOME)["spec"]["delivery"]["deadLetterSink"] == {"uri": SINK}


def test_who_may_not_list_subscriptions_deploys_all_the_same(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    apiserver.denied = {("list", "subscriptions.messaging.knative.dev")}
    deploy(cluster, app_with())
    assert "may not list subscriptions.messaging.knative.dev" in caplog.text


def test_a_right_that_lacks_is_named_and_nothing_is_removed(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    app = relayed_app()
    deploy(cluster, app, full_settings())
    apiserver.denied = {("patch", "subscriptions.messaging.knative.dev")}
    with pytest.raises(DeniedError, match=r"subscriptions\.messaging\.knative\.dev"):
        deploy(cluster, replace(app, relay=ClusterRelay()), full_settings())
    assert apiserver.get("v1/Service", f"{NAME}-relay", namespace=HOME)
