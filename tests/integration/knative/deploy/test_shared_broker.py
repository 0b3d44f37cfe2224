"""The Broker that apps of a namespace share, while one is deployed and another one deployed or removed at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from knative.client.cluster import Cluster
from knative.deploy.objects.brokers import MARK
from knative.deploy.objects.labelled_objects import AppOwner
from knative.deploy.removal import remove_app
from knative.specs import ClusterApp, build_default_trigger
from tests.cluster.apps import NAME, plain_app
from tests.cluster.deploys import AGENTS, HOME, deploy, objects
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import FakeCluster, Reply, Request, reply_json

BROKER, TRIGGER = "eventing.knative.dev/v1/Broker", "eventing.knative.dev/v1/Trigger"
BIRDS = "birds"


@dataclass
class Before:
    """Does something once, before the request of a number among those about Brokers and Triggers.

    Attributes:
        number: Number of the request, from 0.
        action: What is done.
        seen: How many there were.
    """

    number: int
    action: Callable[[], object]
    seen: int = field(default=0, init=False)

    def __call__(self, request: Request) -> Reply | None:
        if "/brokers" in request.path or "/triggers" in request.path:
            self.seen += 1
            if self.seen == self.number + 1:
                self.action()
        return None


def owner(name: str) -> AppOwner:
    return AppOwner(app=name, agents=AGENTS)


def app(name: str) -> ClusterApp:
    plain = plain_app()
    function = replace(plain.function, name=name)
    return replace(plain, function=function, triggers=(build_default_trigger(function),))


def deploy_birds(cluster: Cluster) -> None:
    deploy(cluster, app(BIRDS), owner=owner(BIRDS))


def brokers(apiserver: FakeCluster) -> list[str]:
    """Names of the Brokers that stay."""
    found = apiserver.all(BROKER, namespace=HOME)
    return [one["metadata"]["name"] for one in found if MARK not in one["metadata"].get("annotations", {})]


def test_two_apps_that_are_deployed_at_once_make_one_broker(cluster: Cluster, apiserver: FakeCluster) -> None:
    for number in range(4):
        apiserver.fault = Before(number, lambda: deploy_birds(cluster))
        deploy(cluster, app(NAME), owner=owner(NAME))
        assert len(apiserver.all(TRIGGER, namespace=HOME)) == 2
        assert brokers(apiserver) == ["eaves"]
        apiserver.fault = lambda request: None
        remove_app(cluster, owner(NAME))
        assert brokers(apiserver) == ["eaves"], "another app uses it"
        remove_app(cluster, owner(BIRDS))
        assert objects(apiserver) == {}


@pytest.mark.parametrize("number", range(7))
def test_an_app_that_is_deployed_while_another_is_removed_has_its_broker(
    number: int, cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    deploy(cluster, app(NAME), owner=owner(NAME))
    apiserver.fault = before = Before(number, lambda: deploy_birds(cluster))
    remove_app(cluster, owner(NAME))
    assert before.seen > number, "it was deployed meanwhile"
    assert [one["metadata"]["name"] for one in apiserver.all(TRIGGER, namespace=HOME)] == [BIRDS]
    assert brokers(apiserver) == ["eaves"]
    apiserver.fault = lambda request: None
    remove_app(cluster, owner(BIRDS))
    assert objects(apiserver) == {}


@pytest.mark.parametrize("number", range(5))
def test_an_app_that_is_removed_while_another_is_deployed_leaves_the_broker(
    number: int, cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    deploy(cluster, app(NAME), owner=owner(NAME))
    apiserver.fault = before = Before(number, lambda: remove_app(cluster, owner(NAME)))
    deploy_birds(cluster)
    assert before.seen > number, "it was removed meanwhile"
    apiserver.fault = lambda request: None
    assert [one["metadata"]["name"] for one in apiserver.all(TRIGGER, namespace=HOME)] == [BIRDS]
    assert brokers(apiserver) == ["eaves"]


def test_a_mark_that_a_killed_removal_left_goes(cluster: Cluster, knative: Knative, apiserver: FakeCluster) -> None:
    deploy_birds(cluster)
    (broker,) = apiserver.all(BROKER, namespace=HOME)
    about = {**{key: broker["metadata"][key] for key in ("name", "namespace")}, "annotations": {MARK: "yes"}}
    cluster.apply({"apiVersion": broker["apiVersion"], "kind": "Broker", "metadata": about}, manager="eaves-remove")
    assert brokers(apiserver) == []
    deploy_birds(cluster)
    assert brokers(apiserver) == ["eaves"]


def test_a_broker_that_is_going_is_waited_for_and_made_anew(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    """Its finalizers keep a deleted Broker for a while, and what is applied to it meanwhile goes with it."""
    deploy_birds(cluster)
    (broker,) = apiserver.all(BROKER, namespace=HOME)
    going = {**broker, "metadata": {**broker["metadata"], "deletionTimestamp": "2026-11-26T06:00:00Z"}}
    answers = iter([going])

    def fault(request: Request) -> Reply | None:
        if request.path.endswith("/brokers/eaves") and apiserver.all(BROKER, namespace=HOME):
            if request.method == "PATCH":
                return reply_json(going)
            if (one := next(answers, None)) is not None:
                return reply_json(one)
            apiserver.remove(BROKER, "eaves", namespace=HOME)
        return None

    apiserver.fault = fault
    deploy_birds(cluster)
    made = [request for request in apiserver.asked("PATCH", "/brokers/eaves") if "uid" not in request.json["metadata"]]
    (anew,) = apiserver.all(BROKER, namespace=HOME)
    assert anew["metadata"]["uid"] != broker["metadata"]["uid"]
    assert json.loads(made[-1].body)["spec"] == {}
