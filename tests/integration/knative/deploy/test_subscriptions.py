"""What a trigger's delivery no longer has goes from its Subscription too, where Knative would leave it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

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


def test_who_may_not_list_subscriptions_deploys_all_the_same(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    apiserver.denied = {("list", "subscriptions.messaging.knative.dev")}
    deploy(cluster, app_with())
    assert "may not list subscriptions.messaging.knative.dev" in caplog.text
