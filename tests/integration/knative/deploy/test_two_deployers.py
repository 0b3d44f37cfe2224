"""Two commands deploy, promote, prune or reconcile one app at once: one wins, the other says who won and when."""

import threading
from concurrent.futures import ThreadPoolExecutor
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
from knative.status.traffic import parse_rollout_status
from tests.cluster.apps import IMAGE, NAME, plain_app
from tests.cluster.deploys import HOME, OWNER, SITE, Killed, Meanwhile, kill_after, last, objects, render
from tests.cluster.deploys import update as deploy
from tests.cluster.pins import IMAGES, PIN_KIND, pinned
from tests.cluster.rollouts import FIRST, shares
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import FakeCluster, Request

OTHER = "registry.example/barn/flowers@sha256:" + "d" * 64
THIRD = "registry.example/barn/flowers@sha256:" + "e" * 64


def deployed(knative: Knative) -> str:
    return str(knative.service()["spec"]["template"]["spec"]["containers"][0]["image"])


class Meeting:
    """Two who are about to record a deployment go on together; whatever comes later passes."""

    def __init__(self) -> None:
        self._both = threading.Barrier(2, timeout=30)
        self._passed = threading.Event()

    def __call__(self, request: Request) -> None:
        records = request.method == "PATCH" and "configmaps" in request.path and b'\\"by\\"' in request.body
        if records and not self._passed.is_set():
            self._both.wait()
            self._passed.set()


def test_of_two_who_take_the_same_number_one_wins_and_the_other_applies_nothing(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
):
    deploy(cluster, IMAGE, by="jane@laptop")
    apiserver.fault = Meeting()
    with ThreadPoolExecutor(2) as pool:
        tries = [pool.submit(deploy, cluster, image, by=by) for image, by in ((OTHER, "bob@desk"), (THIRD, "eve@ci"))]
        errors = [one.exception(60) for one in tries]
    (lost,) = [error for error in errors if error is not None]
    assert isinstance(lost, ConflictError)
    winner = last(cluster)
    assert f"{winner.by} deployed {winner.image} at 20" in lost.message
    assert lost.message.endswith("this one stopped before anything was applied")
    other = OTHER if winner.image == THIRD else THIRD
    assert lost.hint == f"eaves deploy {other} --site barn   # to replace that deploy after it has finished"
    assert (winner.sequence, deployed(knative)) == (2, winner.image)


def test_a_deploy_that_another_overtakes_stops_before_it_applies_the_function(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
):
    deploy(cluster, IMAGE, by="jane@laptop", extra="old")
    apiserver.fault = Meanwhile("/daemonsets/", "PATCH", lambda: deploy(cluster, THIRD, by="bob@desk", extra="old"))
    with pytest.raises(ConflictError, match=r"bob@desk deployed \S+ at 20.*during this deploy") as e:
        deploy(cluster, OTHER, by="jane@laptop")
    assert e.value.hint == f"eaves deploy {OTHER} --site barn   # to replace that deploy after it has finished"
    assert "the later deploy takes precedence, and this one stopped before the rest was applied" in e.value.message
    assert (deployed(knative), last(cluster).image) == (THIRD, THIRD)
    assert apiserver.get("eventing.knative.dev/v1/Trigger", "flowers-old", namespace=HOME), "nothing was pruned"
    assert shares(knative) == {FIRST: 100}


def test_a_deploy_that_another_overtakes_removes_nothing(cluster: Cluster, knative: Knative, apiserver: FakeCluster):
    deploy(cluster, IMAGE, by="jane@laptop", extra="old")
    apiserver.fault = Meanwhile("/triggers/", "PATCH", lambda: deploy(cluster, OTHER, by="bob@desk", extra="old"))
    with pytest.raises(ConflictError, match="stopped before anything was removed"):
        deploy(cluster, OTHER, by="jane@laptop")
    assert apiserver.get("eventing.knative.dev/v1/Trigger", "flowers-old", namespace=HOME)


def test_the_deploy_that_wins_sees_a_late_apply_of_the_other_before_its_rollout_begins(
    cluster: Cluster, knative: Knative
):
    deploy(cluster, IMAGE, by="jane@laptop")
    late = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": NAME, "namespace": HOME, "labels": knative.service()["metadata"]["labels"]},
        "spec": {"template": knative.service()["spec"]["template"]},
    }

    def show(progress: object) -> None:
        if not done:
            done.append(progress)
            cluster.apply(late, manager="eaves")

    done: list[object] = []
    deploy(cluster, OTHER, by="bob@desk", show=show)
    assert done
    assert deployed(knative) == OTHER
    state = parse_rollout_status(knative.service()).state
    assert state is not None
    assert state.new == knative.service()["status"]["latestCreatedRevisionName"]


def test_a_deploy_that_another_overtakes_while_it_waits_begins_no_rollout(cluster: Cluster, knative: Knative):
    deploy(cluster, IMAGE, by="jane@laptop")
    done: list[object] = []

    def show(progress: object) -> None:
        if not done:
            done.append(deploy(cluster, THIRD, by="bob@desk", ready_s=0))

    with pytest.raises(ConflictError, match=r"bob@desk deployed \S+ at .* stopped before its rollout began"):
        deploy(cluster, OTHER, by="jane@laptop", show=show)
    assert shares(knative) == {FIRST: 100}
    assert deployed(knative) == THIRD


def test_a_promotion_that_waits_while_another_deploys_promotes_nothing(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
):
    deploy(cluster, IMAGE, by="jane@laptop")
    deploy(cluster, OTHER, by="jane@laptop")
    apiserver.fault = Meanwhile(
        "/configmaps/", "GET", lambda: deploy(cluster, THIRD, by="bob@desk", ready_s=0), after=1
    )
    platform = KnativePlatform(cluster, KnativeSettings(), SITE, by="jane@laptop", ready_timeout_s=10)
    with pytest.raises(ConflictError, match=r"bob@desk deployed \S+ at .* nothing was promoted") as e:
        platform.promote(NAME)
    assert e.value.hint == "eaves promote flowers --site barn   # to promote the newest deployment"
    assert shares(knative) == {FIRST: 100}
    platform.promote(NAME)
    assert shares(knative) == {"flowers-00003": 100}


pytestmark = pytest.mark.usefixtures("knative")

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


def test_a_pin_that_others_remove_meanwhile_stops_no_deploy(cluster: Cluster, apiserver: FakeCluster):
    leave_a_pin(cluster, apiserver)
    apiserver.fault = Meanwhile("/triggers/", "PATCH", lambda: prune_pins(cluster, NAME))
    deploy(cluster, IMAGES[2], extra="alarm")
    assert pinned(apiserver) == set(IMAGES[1:3])
    assert listed(cluster) == there(apiserver)


def test_a_pin_that_a_deploy_under_way_wants_again_is_not_removed(cluster: Cluster, apiserver: FakeCluster):
    leave_a_pin(cluster, apiserver)
    apiserver.fault = Meanwhile("cams/services/flowers", "PATCH", lambda: prune_pins(cluster, NAME))
    deploy(cluster, IMAGE)
    assert IMAGE in pinned(apiserver)
    assert rollout.advance_rollout(cluster, NAME).what == "advance"


def test_an_object_that_a_killed_deploy_made_anew_is_removed(cluster: Cluster, apiserver: FakeCluster):
    """The list had the UID of the one that somebody deleted before."""
    deploy(cluster)
    apiserver.remove(TRIGGER, NAME, namespace=HOME)

    with pytest.raises(Killed):
        apply_app(cluster, render(plain_app()), OWNER, check=kill_after(len(render(plain_app())) - 1))
    platform(cluster).remove(NAME)
    assert objects(apiserver) == {}


def test_a_list_that_was_removed_is_not_made_again(cluster: Cluster, apiserver: FakeCluster):
    read = write_inventory(cluster, Inventory(app=NAME))
    apiserver.remove("v1/ConfigMap", RECORD, namespace=HOME)
    with pytest.raises(ConflictError, match=r"the inventory of .* has changed"):
        write_inventory(cluster, read)
    assert read_inventory(cluster, NAME).version == ""


@pytest.mark.parametrize("path", ["/serviceaccounts/", "/configmaps/"])
def test_a_removal_stops_a_deploy_wherever_it_is(path: str, cluster: Cluster, apiserver: FakeCluster):
    deploy(cluster)

    apiserver.fault = Meanwhile(path, "PATCH", lambda: platform(cluster).remove(NAME))
    with pytest.raises(ConflictError, match=r"remov(ed|ing)"):
        deploy(cluster, IMAGES[1])
    assert apiserver.all("serving.knative.dev/v1/Service", namespace=HOME) == []
    with suppress(NotFoundError):
        platform(cluster).remove(NAME, adopt=True)
    assert objects(apiserver) == {}


@pytest.mark.parametrize("path", ["/triggers/", "/serviceaccounts/"])
def test_a_deploy_stops_a_removal_and_has_all_its_objects(path: str, cluster: Cluster, apiserver: FakeCluster):
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
