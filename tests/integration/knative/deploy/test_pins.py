"""What serves, and what a rollback returns to, is pinned on its nodes; what nothing needs is pinned no more."""

import pytest

from knative import rollout
from knative.client.cluster import Cluster
from knative.deploy.ownership import prune_pins
from knative.deploy.site_update import advance_all
from knative.inventory import read_inventory
from tests.cluster.apps import IMAGE, NAME
from tests.cluster.deploys import HOME
from tests.cluster.pins import IMAGES, PIN_KIND, names, pinned, update
from tests.cluster.rollouts import FIRST, SECOND, THIRD, shares
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import FakeCluster

pytestmark = pytest.mark.usefixtures("knative")

# What stays pinned


def test_what_a_rollback_returns_to_stays_pinned(apiserver: FakeCluster, cluster: Cluster, knative: Knative):
    update(cluster)
    update(cluster, IMAGES[1])
    rollout.promote(cluster, NAME)
    update(cluster, IMAGES[1])
    assert pinned(apiserver) == {IMAGE, IMAGES[1]}
    rollout.rollback(cluster, NAME)
    assert shares(knative) == {FIRST: 100}
    update(cluster, IMAGES[1])
    assert pinned(apiserver) == {IMAGE, IMAGES[1]}, "a second rollback takes the first one back"


def test_many_deploys_in_a_row_leave_the_pins_of_what_serves_and_of_the_newest(
    apiserver: FakeCluster, cluster: Cluster
):
    update(cluster)
    most = 0
    for image in IMAGES[1:6]:
        update(cluster, image, ready_s=0.0)
        most = max(most, len(pinned(apiserver)))
    assert most <= 3
    update(cluster, IMAGES[5])
    assert pinned(apiserver) == {IMAGE, IMAGES[5]}
    assert {item.name for item in read_inventory(cluster, NAME).items if item.kind == "DaemonSet"} == names(apiserver)


def test_pins_come_and_go_with_the_setting(apiserver: FakeCluster, cluster: Cluster, knative: Knative):
    update(cluster, pin=False)
    assert pinned(apiserver) == set()
    knative.unpulled[IMAGES[1]] = 1
    update(cluster, IMAGES[1])
    assert pinned(apiserver) == {IMAGES[1]}
    assert rollout.advance_rollout(cluster, NAME).what == "wait"
    update(cluster, IMAGES[1], pin=False)
    assert pinned(apiserver) == set()
    assert rollout.advance_rollout(cluster, NAME).what == "advance", "nothing is waited for"


# What goes


def test_a_pin_that_the_inventory_does_not_list_stays(apiserver: FakeCluster, cluster: Cluster):
    update(cluster)
    (made,) = apiserver.all(PIN_KIND, namespace=HOME)
    theirs = {**made, "metadata": {"name": "flowers-pin-ffffffff", "labels": made["metadata"]["labels"]}}
    apiserver.put(theirs, manager="helm", namespace=HOME)
    assert prune_pins(cluster, NAME) == []
    assert "flowers-pin-ffffffff" in names(apiserver)


def test_a_user_who_may_not_remove_pins_deploys_and_advances_all_the_same(apiserver: FakeCluster, cluster: Cluster):
    update(cluster)
    update(cluster, IMAGES[1])
    rollout.promote(cluster, NAME)
    apiserver.denied.add(("delete", "daemonsets.apps"))
    update(cluster, IMAGES[2])
    assert pinned(apiserver) == set(IMAGES[:3])
    apiserver.denied |= {("list", "daemonsets.apps"), ("get", "configmaps")}
    (outcome,) = advance_all(cluster).values()
    assert isinstance(outcome, rollout.RolloutOutcome)
    assert outcome.shares == {SECOND: 90, THIRD: 10}
