"""A new revision gets no share before its container image is on every node that it may run on."""

from dataclasses import replace
from pathlib import Path

import pytest

from eaves.errors import StartError
from knative import rollout
from knative.client.cluster import Cluster
from knative.resources.metadata import MANAGED_LABEL, MANAGED_VALUE
from knative.status.parts import judge_parts
from knative.status.pods import find_untolerated
from tests.cluster.apps import IMAGE, NAME
from tests.cluster.deploys import HOME, SITE
from tests.cluster.expanded import condition
from tests.cluster.pins import IMAGES, PIN_KIND, SETTINGS, pinned, update
from tests.cluster.rollouts import FIRST, SECOND, shares
from tests.cluster.sites import IMAGE as FIRST_IMAGE
from tests.cluster.sites import OTHER, open_sites
from tests.fakes.controllers.installation import bare
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import FakeCluster

PIN = "flowers-pin-00000001"


@pytest.fixture
def two_of_three(cluster: Cluster, knative: Knative) -> Knative:
    """The second revision's container image is on two of three nodes."""
    knative.nodes = 3
    knative.unpulled[IMAGES[1]] = 1
    update(cluster)
    update(cluster, IMAGES[1])
    return knative


def test_a_new_revision_gets_no_share_until_it_is_pinned_on_every_node(
    cluster: Cluster, two_of_three: Knative, apiserver: FakeCluster
):
    labels = {MANAGED_LABEL: MANAGED_VALUE, "app.kubernetes.io/component": "pin", "eaves.dev/pin": "00000001"}
    pin = apiserver.get(PIN_KIND, PIN, namespace=HOME)
    waiting = {"reason": "ImagePullBackOff", "message": "manifest unknown"}
    container = {"name": "pin", "image": IMAGES[1], "ready": False, "state": {"waiting": waiting}}
    status = {"phase": "Pending", "containerStatuses": [container]}
    spec = {"nodeName": "edge-3", "containers": pin["spec"]["template"]["spec"]["containers"]}
    made = {
        "name": f"{PIN}-x",
        "namespace": HOME,
        "labels": {**pin["spec"]["template"]["metadata"]["labels"], **labels},
    }
    apiserver.put({"apiVersion": "v1", "kind": "Pod", "metadata": made, "spec": spec, "status": status})
    outcome = rollout.advance_rollout(cluster, NAME)
    assert shares(two_of_three) == {FIRST: 100}
    assert (outcome.what, outcome.advancing) == ("wait", True)
    assert outcome.reason.startswith(
        "flowers-00002 waits until its container image is on every node; it is pinned on 2 of 3 nodes "
        "(node edge-3 can't pull the container image registry.example/barn/flowers"
    )
    two_of_three.pull(IMAGES[1])
    assert rollout.advance_rollout(cluster, NAME).what == "advance"
    assert shares(two_of_three) == {FIRST: 90, SECOND: 10}


@pytest.mark.parametrize("status", [{"updatedNumberScheduled": 2}, {"observedGeneration": 0}], ids=str)
def test_what_was_ready_before_the_pin_was_changed_does_not_count(
    status: dict[str, int], cluster: Cluster, knative: Knative, apiserver: FakeCluster
):
    update(cluster)
    update(cluster, IMAGES[1])
    ready = {"desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberReady": 3, "observedGeneration": 1}
    apiserver.status(PIN_KIND, PIN, {**ready, **status}, namespace=HOME)
    assert rollout.advance_rollout(cluster, NAME).what == "wait"
    apiserver.status(PIN_KIND, PIN, ready, namespace=HOME)
    assert rollout.advance_rollout(cluster, NAME).what == "advance"


@pytest.mark.parametrize("site", [{}, {"nodeSelector": {"edge": None}}], ids=["", "the site takes it away"])
def test_labels_of_nodes_for_all_sites_keep_no_rollout_from_its_pin(
    cluster: Cluster, knative: Knative, site: dict[str, object]
):
    everywhere, here = {"nodeSelector": {"edge": "yes"}}, replace(SITE, pod=site)
    update(cluster, pod=everywhere, site=here)
    update(cluster, IMAGES[1], pod=everywhere, site=here)
    assert rollout.advance_rollout(cluster, NAME).what == "advance"
    assert shares(knative) == {FIRST: 90, SECOND: 10}
    update(cluster, IMAGES[1], pod=everywhere, site=here)
    assert pinned(knative.server) == set(IMAGES[:2]), "both revisions serve"


def test_it_is_held_when_a_node_has_not_pulled_it_by_the_deadline_and_continues_by_itself_when_it_has(
    cluster: Cluster, two_of_three: Knative
):
    two_of_three.server.skew_s += 601
    outcome = rollout.advance_rollout(cluster, NAME)
    assert (outcome.what, outcome.advancing) == ("hold", False)
    assert "s the container image of flowers-00002 is pinned on 2 of 3 nodes" in outcome.reason
    assert shares(two_of_three) == {FIRST: 100}
    two_of_three.server.skew_s += 86400
    assert rollout.advance_rollout(cluster, NAME).what == "nothing"
    two_of_three.pull(IMAGES[1])
    resumed = rollout.advance_rollout(cluster, NAME)
    assert (resumed.what, resumed.advancing) == ("begin", True)
    assert "flowers-00002 is ready and pinned now" in resumed.reason
    assert rollout.advance_rollout(cluster, NAME).what == "advance"
    assert shares(two_of_three) == {FIRST: 90, SECOND: 10}


def test_a_later_step_that_is_held_goes_on_too_but_not_after_a_person_has_held_it_or_changed_the_shares(
    cluster: Cluster, two_of_three: Knative
):
    rollout.set_percent(cluster, NAME, 10, unpinned=True)
    rollout.begin_rollout(cluster, NAME, SETTINGS, again=True)
    two_of_three.ready(SECOND, None, message="its pods are gone")
    two_of_three.server.skew_s += 601
    outcome = rollout.advance_rollout(cluster, NAME)
    assert (outcome.what, dict(outcome.shares)) == ("hold", {FIRST: 100})
    two_of_three.pull(IMAGES[1])
    assert rollout.advance_rollout(cluster, NAME).what == "nothing", "it isn't ready"
    two_of_three.ready(SECOND)
    assert rollout.advance_rollout(cluster, NAME).what == "begin"
    rollout.set_percent(cluster, NAME, 0)
    assert rollout.advance_rollout(cluster, NAME).what == "nothing", "a person holds it"
    rollout.begin_rollout(cluster, NAME, SETTINGS, again=True)
    two_of_three.ready(SECOND, None)
    two_of_three.server.skew_s += 601
    assert rollout.advance_rollout(cluster, NAME).what == "hold"
    two_of_three.ready(SECOND)
    two_of_three.set_traffic({"revisionName": FIRST, "percent": 60}, {"revisionName": SECOND, "percent": 40})
    assert rollout.advance_rollout(cluster, NAME).what == "nothing", "somebody has changed the shares"


def put_node(server: FakeCluster, name: str, *, ready: bool, pinned: bool) -> None:
    """A node, and the pod of the second pin that is bound to it."""
    labels = server.get(PIN_KIND, PIN, namespace=HOME)["spec"]["template"]["metadata"]["labels"]
    node, pod = condition("Ready", "True" if ready else "Unknown"), condition("Ready", "True" if pinned else "False")
    server.put({**bare("v1", "Node", name), "status": {"conditions": [node]}})
    made = bare("v1", "Pod", f"{PIN}-{name}", namespace=HOME, labels=labels)
    server.put({**made, "spec": {"nodeName": name}, "status": {"phase": "Pending", "conditions": [pod]}})


def test_a_node_that_is_away_holds_nothing_up_and_one_that_is_back_is_pinned_first(
    cluster: Cluster, two_of_three: Knative, apiserver: FakeCluster
):
    put_node(apiserver, "edge-1", ready=True, pinned=True)
    put_node(apiserver, "edge-2", ready=True, pinned=True)
    put_node(apiserver, "edge-3", ready=True, pinned=False)
    assert rollout.advance_rollout(cluster, NAME).what == "wait", "it is pulling"
    put_node(apiserver, "edge-3", ready=False, pinned=False)
    apiserver.denied.add(("list", "nodes"))
    assert rollout.advance_rollout(cluster, NAME).what == "wait", "as far as this user knows, it is pulling"
    apiserver.denied.clear()
    put_node(apiserver, "edge-2", ready=True, pinned=False)
    waits = rollout.advance_rollout(cluster, NAME)
    assert waits.what == "wait", "a ready node is waited for"
    put_node(apiserver, "edge-2", ready=True, pinned=True)
    assert rollout.advance_rollout(cluster, NAME).what == "advance"
    two_of_three.server.skew_s += 61
    put_node(apiserver, "edge-3", ready=True, pinned=False)
    with pytest.raises(StartError, match="pinned on 2 of 3 nodes"):
        rollout.set_percent(cluster, NAME, 50, pin_wait_s=0.0)
    tolerated = apiserver.get(PIN_KIND, PIN, namespace=HOME)["spec"]["template"]["spec"]["tolerations"]
    away = {"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"}
    assert find_untolerated({"spec": {"taints": [away]}}, {"tolerations": tolerated}) == []


def test_a_pin_is_on_no_node_while_all_are_away(cluster: Cluster, two_of_three: Knative, apiserver: FakeCluster):
    for number in (1, 2, 3):
        put_node(apiserver, f"edge-{number}", ready=False, pinned=False)
    assert rollout.advance_rollout(cluster, NAME).what == "wait"
    (pin,) = judge_parts(cluster, [apiserver.get(PIN_KIND, PIN, namespace=HOME)], now=0.0)
    assert (pin.reason, pin.fix) == ("every node that it is for is away: edge-1, edge-2, edge-3", "kubectl get nodes")


def test_a_person_gives_it_no_share_before_either_unless_they_say_so(cluster: Cluster, two_of_three: Knative):
    refused = r"flowers-00002 gets no share of requests before .* pinned on 2 of 3 nodes"
    with pytest.raises(StartError, match=refused) as raised:
        rollout.set_percent(cluster, NAME, 10, pin_wait_s=0.0)
    assert "--unpinned" in str(raised.value.hint)
    with pytest.raises(StartError, match=refused):
        rollout.promote(cluster, NAME, pin_wait_s=0.0)
    assert shares(two_of_three) == {FIRST: 100}
    rollout.set_percent(cluster, NAME, 0, pin_wait_s=0.0)
    rollout.set_percent(cluster, NAME, 10, unpinned=True)
    assert shares(two_of_three) == {FIRST: 90, SECOND: 10}
    rollout.set_percent(cluster, NAME, 5, pin_wait_s=0.0)
    assert shares(two_of_three) == {FIRST: 95, SECOND: 5}, "less is no risk"
    two_of_three.pull(IMAGE, nodes=1)
    assert rollout.rollback(cluster, NAME).shares == {FIRST: 100}, "a rollback waits for no pin"


def test_a_pin_that_is_gone_changed_or_not_to_be_seen_is_waited_for(
    apiserver: FakeCluster, cluster: Cluster, knative: Knative
):
    update(cluster)
    update(cluster, IMAGES[1])
    pin = apiserver.get(PIN_KIND, PIN, namespace=HOME)
    apiserver.remove(PIN_KIND, PIN, namespace=HOME)
    reasons = [rollout.advance_rollout(cluster, NAME).reason]
    pin["spec"]["template"]["spec"]["containers"][0]["image"] = IMAGE
    apiserver.put({**pin, "metadata": {"name": PIN, "labels": pin["metadata"]["labels"]}}, namespace=HOME)
    reasons.append(rollout.advance_rollout(cluster, NAME).reason)
    apiserver.denied.add(("get", "daemonsets.apps"))
    reasons.append(rollout.advance_rollout(cluster, NAME).reason)
    for reason, why in zip(
        reasons, ("is missing", "has another container image", "may not get daemonsets"), strict=True
    ):
        assert "it is not pinned as far as known: " in reason
        assert why in reason
    apiserver.denied.clear()
    apiserver.remove(PIN_KIND, PIN, namespace=HOME)
    update(cluster, IMAGES[1])
    assert rollout.advance_rollout(cluster, NAME).what == "advance"


def test_unpinned_is_an_option_of_the_commands(tmp_path: Path):
    with open_sites(tmp_path, 1) as sites:
        (knative,) = sites.knative.values()
        sites.run("deploy", FIRST_IMAGE, "--offline", "--on", "knative")
        knative.unpulled[OTHER] = 1
        sites.run("deploy", OTHER, "--offline", "--on", "knative")
        assert sites.run("rollout", "--on", "knative", "--percent", "10", "--unpinned").exit_code == 0
        assert sites.served(sites.names[0]) == {FIRST: 90, SECOND: 10}
        assert sites.run("promote", "--on", "knative", "--unpinned").exit_code == 0
        assert sites.served(sites.names[0]) == {SECOND: 100}
