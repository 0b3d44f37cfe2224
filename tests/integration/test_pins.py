"""What serves, and what a rollback returns to, is pinned on its nodes; what is new gets no share before it is."""

from __future__ import annotations

from knative import rollout
from knative.cluster import Cluster
from knative.settings import KnativeSettings, RolloutSettings
from knative.update import Updated, Wanted, update_site
from tests.apps import IMAGE, NAME, plain_app
from tests.deploys import HOME, SITE
from tests.fakes.apiserver import FakeCluster
from tests.fakes.knative import Knative
from tests.rollouts import FIRST, SECOND, shares

SETTINGS = RolloutSettings(steps=("10", "50"), step_s=60.0, deadline_s=600.0, min_requests=4)
IMAGES = [IMAGE, *("registry.example/barn/flowers@sha256:" + f"{number:08x}" + "e" * 56 for number in range(1, 25))]


def update(cluster: Cluster, image: str = IMAGE, *, ready_s: float = 10.0, pin: bool = True) -> Updated:
    """Deploy a container image."""
    wanted = Wanted(app=plain_app(image=image), knative=KnativeSettings(pin=pin), rollout=SETTINGS, ready_s=ready_s)
    return update_site(cluster, SITE, wanted)


def pinned(server: FakeCluster) -> set[str]:
    """Container images that pins hold on the nodes."""
    sets = server.all("apps/v1/DaemonSet", namespace=HOME)
    return {one["spec"]["template"]["spec"]["containers"][0]["image"] for one in sets}


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


def test_no_pin_is_replaced_by_another_container_images(
    apiserver: FakeCluster, cluster: Cluster, knative: Knative
) -> None:
    update(cluster)
    (before,) = apiserver.all("apps/v1/DaemonSet", namespace=HOME)
    update(cluster, IMAGES[1])
    after = apiserver.get("DaemonSet", before["metadata"]["name"], namespace=HOME)
    assert after["spec"] == before["spec"]


def test_the_pods_of_a_pin_are_replaced_one_node_at_a_time_and_never_before_the_next_one_runs(
    apiserver: FakeCluster, cluster: Cluster, knative: Knative
) -> None:
    update(cluster)
    (pin,) = apiserver.all("apps/v1/DaemonSet", namespace=HOME)
    assert pin["spec"]["updateStrategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_a_new_revision_gets_no_share_until_it_is_pinned_on_every_node(cluster: Cluster, knative: Knative) -> None:
    knative.nodes = 3
    knative.unpulled[IMAGES[1]] = 1
    update(cluster)
    update(cluster, IMAGES[1])
    outcome = rollout.advance(cluster, NAME)
    assert shares(knative) == {FIRST: 100}
    assert (outcome.what, outcome.advancing) == ("wait", True)
    assert "pinned on 2 of 3 nodes" in outcome.reason
    knative.pull(IMAGES[1])
    assert rollout.advance(cluster, NAME).what == "advance"
    assert shares(knative) == {FIRST: 90, SECOND: 10}
