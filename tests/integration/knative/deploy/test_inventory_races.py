"""Several writers of the inventory at once: a deploy, a prune of pins, a removal, and an interrupted command."""

from __future__ import annotations

from contextlib import suppress

import pytest

from eaves.errors import ConflictError, NotFoundError
from knative import rollout
from knative.client.cluster import Cluster
from knative.deploy.apply import apply_app
from knative.deploy.ownership import prune_pins
from knative.inventory import Inventory, inventory_name, read_inventory, write_inventory
from knative.platform import KnativePlatform
from knative.settings import KnativeSettings
from tests.cluster.apps import IMAGE, NAME, plain_app
from tests.cluster.deploys import HOME, OWNER, SITE, Killed, Meanwhile, kill_after, objects, render
from tests.cluster.deploys import update as deploy
from tests.cluster.pins import IMAGES, PIN_KIND, pinned
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import FakeCluster

RECORD = inventory_name(NAME)
TRIGGER = "eventing.knative.dev/v1/Trigger"
KINDS = (
    *("serving.knative.dev/v1/Service", TRIGGER, PIN_KIND, "v1/ServiceAccount"),
    *("eventing.knative.dev/v1beta3/EventType", "networking.k8s.io/v1/NetworkPolicy"),
)


def platform(cluster: Cluster) -> KnativePlatform:
    return KnativePlatform(cluster, KnativeSettings(), SITE, by="bob@desk", ready_timeout_s=10)


def listed(cluster: Cluster) -> set[tuple[str, str, str]]:
    return {(key.kind, key.name, uid) for key, uid in read_inventory(cluster, NAME).items.items()}


def there(apiserver: FakeCluster) -> set[tuple[str, str, str]]:
    """What the app has in its namespace."""
    found = [one for kind in KINDS for one in apiserver.all(kind, namespace=HOME)]
    return {(one["kind"], one["metadata"]["name"], one["metadata"]["uid"]) for one in found}


def leave_a_pin(cluster: Cluster, apiserver: FakeCluster) -> None:
    """Three deploys by a user who may not remove the pin of the first one, which nothing needs any more."""
    apiserver.denied = {("delete", "daemonsets.apps")}
    deploy(cluster)
    deploy(cluster, IMAGES[1])
    rollout.promote(cluster, NAME)
    deploy(cluster, IMAGES[2], ready_s=0)
    rollout.promote(cluster, NAME)
    apiserver.denied = set()


def test_a_pin_that_others_remove_meanwhile_stops_no_deploy(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    leave_a_pin(cluster, apiserver)
    apiserver.fault = Meanwhile("/triggers/", "PATCH", lambda: prune_pins(cluster, NAME))
    deploy(cluster, IMAGES[2], extra="alarm")
    assert pinned(apiserver) == set(IMAGES[1:3])
    assert listed(cluster) == there(apiserver)


def test_a_pin_that_a_deploy_under_way_wants_again_is_not_removed(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    leave_a_pin(cluster, apiserver)
    apiserver.fault = Meanwhile("cams/services/flowers", "PATCH", lambda: prune_pins(cluster, NAME))
    deploy(cluster, IMAGE)
    assert IMAGE in pinned(apiserver)
    assert rollout.advance_rollout(cluster, NAME).what == "advance"


def test_an_object_that_a_killed_deploy_made_anew_is_removed(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    """The list had the UID of the one that somebody deleted before."""
    deploy(cluster)
    apiserver.remove(TRIGGER, NAME, namespace=HOME)

    with pytest.raises(Killed):
        apply_app(cluster, render(plain_app()), OWNER, check=kill_after(len(render(plain_app())) - 1))
    platform(cluster).remove(NAME)
    assert objects(apiserver) == {}


def test_a_list_that_was_removed_is_not_made_again(cluster: Cluster, apiserver: FakeCluster) -> None:
    read = write_inventory(cluster, Inventory(app=NAME))
    apiserver.remove("v1/ConfigMap", RECORD, namespace=HOME)
    with pytest.raises(ConflictError, match=r"the inventory of .* has changed"):
        write_inventory(cluster, read)
    assert read_inventory(cluster, NAME).version == ""


@pytest.mark.parametrize("path", ["/serviceaccounts/", "/configmaps/"])
def test_a_removal_stops_a_deploy_wherever_it_is(
    path: str, cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    deploy(cluster)

    apiserver.fault = Meanwhile(path, "PATCH", lambda: platform(cluster).remove(NAME))
    with pytest.raises(ConflictError, match=r"remov(ed|ing)"):
        deploy(cluster, IMAGES[1])
    assert apiserver.all("serving.knative.dev/v1/Service", namespace=HOME) == []
    with suppress(NotFoundError):
        platform(cluster).remove(NAME, adopt=True)
    assert objects(apiserver) == {}


@pytest.mark.parametrize("path", ["/triggers/", "/serviceaccounts/"])
def test_a_deploy_stops_a_removal_and_has_all_its_objects(
    path: str, cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    deploy(cluster)
    apiserver.fault = Meanwhile(
        path,
        "DELETE",
        lambda: deploy(cluster, IMAGES[1], by="jane@laptop", ready_s=0),
    )
    with pytest.raises(ConflictError, match=r"another user deployed .* while it was being removed"):
        platform(cluster).remove(NAME)
    apiserver.fault = lambda request: None
    missing = {(kind, name) for kind, name, _ in listed(cluster)} - {(kind, name) for kind, name, _ in there(apiserver)}
    others = {one for one in missing if one != ("DaemonSet", "flowers-pin-bbbbbbbb")}
    assert len(others) <= 1, "the one whose deletion was under way; a deploy makes no earlier pin again"
