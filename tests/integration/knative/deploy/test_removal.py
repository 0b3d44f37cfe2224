"""Everything of an app out of a cluster, and nothing of anybody else."""

from __future__ import annotations

import pytest

from eaves.errors import NotFoundError
from knative.client.cluster import Cluster
from knative.client.kinds import KSERVICE
from knative.deploy.inventory import InventoryItem, item_kind
from knative.deploy.ownership import LEFT, REMOVED, AppOwner, delete_item
from knative.deploy.removal import remove_app
from tests.cluster.apps import full_app, full_settings, plain_app
from tests.cluster.deploys import OWNER, deploy, names, objects, outcomes, remove, render
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import FakeCluster, Request

ROSES = AppOwner(app="roses", agents="eaves-agents")


def test_all_of_it_goes_but_the_broker_that_apps_share(cluster: Cluster, knative: Knative) -> None:
    deploy(cluster, full_app(), full_settings())
    deploy(cluster, plain_app(name="roses"), owner=ROSES)
    assert remove(cluster) == names(
        one for one in render(full_app(), full_settings()) if one["kind"] not in {"Broker", "Namespace"}
    )
    rendered = [one for one in render(plain_app(name="roses")) if one["kind"] != "Broker"]
    left = {f"{one['metadata']['namespace']}/{one['kind']}/{one['metadata']['name']}" for one in rendered}
    assert set(objects(knative.server)) == left
    remove_app(cluster, ROSES)
    assert objects(knative.server) == {}


def test_what_is_still_being_deleted_is_made_again_by_the_next_deploy(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    """A controller's finalizer keeps an object for seconds, and what is applied to it meanwhile goes with it."""
    kind = "eventing.knative.dev/v1/Trigger"
    deploy(cluster, plain_app())

    def finalize(*names: str) -> None:
        one = apiserver.get(kind, "flowers", namespace="cams")
        one["metadata"]["finalizers"] = list(names)
        apiserver.put(one, manager="controller", namespace="cams")

    finalize("triggers.eventing.knative.dev")
    remove_app(cluster, OWNER)
    looked: list[str] = []

    def end(request: Request) -> None:
        if request.method == "GET" and request.path.endswith("/triggers/flowers"):
            looked.append(request.path)
            if len(looked) == 3:
                finalize()

    apiserver.fault = end
    assert "Trigger/flowers" in outcomes(deploy(cluster, plain_app()))["created"]
    assert "deletionTimestamp" not in apiserver.get(kind, "flowers", namespace="cams")["metadata"]


def test_an_app_that_isnt_there_is_distinguished_from_those_that_are(cluster: Cluster, knative: Knative) -> None:
    deploy(cluster, plain_app(name="roses"), owner=ROSES)
    with pytest.raises(
        NotFoundError, match=r"the function 'flowers' does not exist in cams of edge \(known functions: roses\)"
    ):
        remove_app(cluster, OWNER)


def test_without_a_recorded_uid_what_another_app_owns_by_now_stays(cluster: Cluster, knative: Knative) -> None:
    """A deploy that was killed lists objects that it hadn't applied; another app may have taken the name since."""
    deploy(cluster, plain_app())
    deploy(cluster, plain_app(name="roses"), owner=ROSES)
    item = InventoryItem(kind=item_kind(KSERVICE), name="roses", namespace="cams", uid="")
    assert [one.outcome for one in delete_item(cluster, item, "flowers")] == [LEFT]
    assert cluster.get(KSERVICE, "roses") is not None
    assert [one.outcome for one in delete_item(cluster, item, "roses")] == [REMOVED]
    assert cluster.get(KSERVICE, "roses") is None


def test_services_that_knative_makes_for_its_own_are_left_to_it(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    """They carry the labels of the Knative Service, and would be gone at each deploy."""
    deploy(cluster, plain_app())
    route = {"apiVersion": "serving.knative.dev/v1", "kind": "Route", "name": "flowers", "uid": "1", "controller": True}
    metadata = {"name": "flowers", "labels": {"eaves.dev/app": "flowers"}, "ownerReferences": [route]}
    apiserver.put({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {}}, namespace="cams")
    assert "removed" not in outcomes(deploy(cluster, plain_app()))
    remove_app(cluster, OWNER)
    assert apiserver.get("v1/Service", "flowers", namespace="cams")
