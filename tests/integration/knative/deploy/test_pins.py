"""What serves, and what a rollback returns to, is pinned on its nodes; what nothing needs is pinned no more."""

from __future__ import annotations

from dataclasses import replace

from knative import rollout
from knative.client.cluster import Cluster
from knative.deploy.inventory import read_inventory
from knative.deploy.ownership import REMOVED
from knative.deploy.pins import prune_pins
from knative.deploy.reconcile import advance_all
from tests.cluster.apps import IMAGE, NAME
from tests.cluster.deploys import HOME, SITE, outcomes
from tests.cluster.pins import IMAGES, PIN_KIND, image_of, names, pinned, update
from tests.cluster.rollouts import FIRST, SECOND, THIRD, shares
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import FakeCluster

# What stays pinned


def test_what_serves_stays_pinned_while_a_newer_revision_has_a_share(
    apiserver: FakeCluster, cluster: Cluster, knative: Knative
) -> None:
    update(cluster)
    update(cluster, IMAGES[1])
    assert pinned(apiserver) == {IMAGE, IMAGES[1]}
    rollout.set_percent(cluster, NAME, 10)
    assert shares(knative) == {FIRST: 90, SECOND: 10}
    update(cluster, IMAGES[1])
    assert pinned(apiserver) == {IMAGE, IMAGES[1]}


def test_what_a_rollback_returns_to_stays_pinned(apiserver: FakeCluster, cluster: Cluster, knative: Knative) -> None:
    update(cluster)
    update(cluster, IMAGES[1])
    rollout.promote(cluster, NAME)
    update(cluster, IMAGES[1])
    assert pinned(apiserver) == {IMAGE, IMAGES[1]}
    rollout.rollback(cluster, NAME)
    assert shares(knative) == {FIRST: 100}
    update(cluster, IMAGES[1])
    assert pinned(apiserver) == {IMAGE, IMAGES[1]}, "a second rollback takes the first one back"


def test_twenty_deploys_in_a_row_leave_the_pins_of_what_serves_and_of_the_newest(
    apiserver: FakeCluster, cluster: Cluster, knative: Knative
) -> None:
    update(cluster)
    most = 0
    for image in IMAGES[1:21]:
        update(cluster, image, ready_s=0.0)
        most = max(most, len(pinned(apiserver)))
    assert most <= 3
    update(cluster, IMAGES[20])
    assert pinned(apiserver) == {IMAGE, IMAGES[20]}
    assert {item.name for item in read_inventory(cluster, NAME).items if item.kind == "DaemonSet"} == names(apiserver)


def test_one_container_image_with_other_settings_has_two_revisions_and_one_pin(
    apiserver: FakeCluster, cluster: Cluster, knative: Knative
) -> None:
    update(cluster)
    update(cluster, env={"EAVES_LOG_LEVEL": "debug"})
    assert knative.service()["status"]["latestCreatedRevisionName"] == SECOND
    assert pinned(apiserver) == {IMAGE}
    assert rollout.advance_rollout(cluster, NAME).what == "advance"
    update(cluster, env={"EAVES_LOG_LEVEL": "debug"})
    assert pinned(apiserver) == {IMAGE}


def test_a_site_that_moves_to_other_nodes_keeps_the_pin_on_the_old_ones_while_the_old_revision_serves(
    apiserver: FakeCluster, cluster: Cluster, knative: Knative
) -> None:
    update(cluster, site=replace(SITE, pod={"nodeSelector": {"shelf": "1"}}))
    update(cluster, site=replace(SITE, pod={"nodeSelector": {"shelf": "2"}}))
    selectors = [
        one["spec"]["template"]["spec"]["nodeSelector"]["shelf"] for one in apiserver.all(PIN_KIND, namespace=HOME)
    ]
    assert sorted(selectors) == ["1", "2"]


def test_a_revision_that_others_made_gets_no_pin(apiserver: FakeCluster, cluster: Cluster, knative: Knative) -> None:
    """Whether a foreign container image has what a pin runs, nobody knows."""
    update(cluster)
    revision = apiserver.get("serving.knative.dev/v1/Revision", FIRST, namespace=HOME)
    del revision["metadata"]["labels"]["app.kubernetes.io/managed-by"]
    apiserver.put(revision, namespace=HOME)
    apiserver.remove(PIN_KIND, next(iter(names(apiserver))), namespace=HOME)
    update(cluster, IMAGES[1])
    assert pinned(apiserver) == {IMAGES[1]}


def test_pins_come_and_go_with_the_setting(apiserver: FakeCluster, cluster: Cluster, knative: Knative) -> None:
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


def test_a_pin_that_the_inventory_does_not_list_stays(
    apiserver: FakeCluster, cluster: Cluster, knative: Knative
) -> None:
    update(cluster)
    (made,) = apiserver.all(PIN_KIND, namespace=HOME)
    theirs = {**made, "metadata": {"name": "flowers-pin-ffffffff", "labels": made["metadata"]["labels"]}}
    apiserver.put(theirs, manager="helm", namespace=HOME)
    assert prune_pins(cluster, NAME) == []
    assert "flowers-pin-ffffffff" in names(apiserver)


def test_a_pin_that_somebody_made_anew_stays(apiserver: FakeCluster, cluster: Cluster, knative: Knative) -> None:
    update(cluster)
    update(cluster, IMAGES[1])
    rollout.promote(cluster, NAME)
    update(cluster, IMAGES[2])
    assert IMAGE not in pinned(apiserver), "it went with the deploy"
    inventory = read_inventory(cluster, NAME)
    (pin,) = [one for one in apiserver.all(PIN_KIND, namespace=HOME) if image_of(one) == IMAGES[1]]
    rollout.promote(cluster, NAME)
    name = pin["metadata"]["name"]
    apiserver.remove(PIN_KIND, name, namespace=HOME)
    apiserver.put({**pin, "metadata": {"name": name, "labels": pin["metadata"]["labels"]}}, namespace=HOME)
    update(cluster, IMAGES[2])
    assert any(item.name == name for item in inventory.items)
    assert name in names(apiserver)


def test_a_step_of_a_rollout_removes_the_pins_that_it_leaves_unneeded(
    apiserver: FakeCluster, cluster: Cluster, knative: Knative
) -> None:
    update(cluster)
    update(cluster, IMAGES[1])
    rollout.promote(cluster, NAME)
    updated = update(cluster, IMAGES[2])
    assert outcomes(list(updated.applied))[REMOVED] == {"DaemonSet/flowers-pin-bbbbbbbb"}
    assert pinned(apiserver) == set(IMAGES[1:3])


def test_a_user_who_may_not_remove_pins_deploys_and_advances_all_the_same(
    apiserver: FakeCluster, cluster: Cluster, knative: Knative
) -> None:
    update(cluster)
    update(cluster, IMAGES[1])
    rollout.promote(cluster, NAME)
    apiserver.denied.add(("delete", "daemonsets.apps"))
    update(cluster, IMAGES[2])
    assert pinned(apiserver) == set(IMAGES[:3])
    apiserver.denied |= {("list", "daemonsets.apps"), ("get", "configmaps")}
    (step,) = advance_all(cluster)
    assert step.outcome is not None
    assert step.outcome.shares == {SECOND: 90, THIRD: 10}
