"""Several namespaces, people and tools on one cluster: nobody's objects are taken, deleted or doubled."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eaves.errors import ConflictError, NotFoundError
from eaves.platform import SourceSpec
from knative.client.cluster import Cluster, open_cluster
from knative.client.kinds import KSERVICE
from knative.deploy.ownership import ADOPTED, CREATED, LEFT, REMOVED, UNCHANGED, delete_objects, remove_app
from knative.inventory import (
    Inventory,
    ObjectKey,
    item_kind,
    read_inventory,
)
from knative.resources.metadata import AppOwner
from knative.settings import ClusterApp, KnativeSettings
from tests.cluster.apps import full_app, full_settings, plain_app
from tests.cluster.deploys import (
    AGENTS,
    OWNER,
    Killed,
    deploy,
    kill_after,
    names,
    objects,
    outcomes,
    remove,
    render,
)
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import FakeCluster, Request

pytestmark = pytest.mark.usefixtures("knative")

CAMERA = (SourceSpec(name="camera", agent="node", options={"path": "/data/camera"}),)
TRIGGER = "eventing.knative.dev/v1/Trigger"
AUDIT: dict[str, Any] = {
    "apiVersion": "eventing.knative.dev/v1",
    "kind": "Trigger",
    "metadata": {"name": "audit", "labels": {"eaves.dev/app": "flowers", "app.kubernetes.io/managed-by": "Helm"}},
    "spec": {"broker": "eaves", "subscriber": {"uri": "http://audit.cams.svc/"}},
}
Open = Callable[[str], Cluster]


@pytest.fixture
def open_namespace(apiserver: FakeCluster, tmp_path: Path) -> Open:
    """A client in a namespace of its own, with controllers."""
    kubeconfig = apiserver.kubeconfig(tmp_path / "several", namespace="default")

    def made(name: str) -> Cluster:
        apiserver.objects.make_namespace(name)
        Knative(apiserver, name)
        return open_cluster(kubeconfig=kubeconfig, namespace=name, timeout_s=10)

    return made


def camera_app() -> ClusterApp:
    """A function with a camera on each node."""
    return replace(plain_app(site="home"), sources=CAMERA)


def cameras(server: FakeCluster) -> dict[str, str]:
    """The function that each agent on nodes asks, by the agent's namespace and name."""
    found = {}
    for one in server.all("apps/v1/DaemonSet"):
        if one["metadata"]["labels"].get("eaves.dev/source"):
            (container,) = one["spec"]["template"]["spec"]["containers"]
            env = {entry["name"]: entry.get("value", "") for entry in container["env"]}
            found[f"{one['metadata']['namespace']}/{one['metadata']['name']}"] = env["EAVES_FUNCTION_URL"]
    return found


def test_the_same_app_in_two_namespaces_has_two_agents_and_a_removal_takes_one(
    open_namespace: Open, apiserver: FakeCluster
):
    prod, staging = open_namespace("prod"), open_namespace("staging")
    deploy(prod, camera_app(), full_settings(), owner=OWNER)
    before = cameras(apiserver)
    deploy(staging, camera_app(), full_settings(), owner=OWNER)
    assert sorted(cameras(apiserver).values()) == ["http://flowers.prod.svc/", "http://flowers.staging.svc/"]
    assert outcomes(deploy(prod, camera_app(), full_settings(), owner=OWNER)).keys() == {UNCHANGED}
    remove_app(staging, OWNER)
    assert cameras(apiserver) == before
    assert set(before.values()) == {"http://flowers.prod.svc/"}


def test_an_object_that_helm_labelled_like_the_app_is_neither_pruned_nor_removed(
    cluster: Cluster, apiserver: FakeCluster
):
    deploy(cluster, plain_app())
    apiserver.put(AUDIT, manager="helm", namespace="cams")
    assert outcomes(deploy(cluster, plain_app())).keys() == {UNCHANGED}
    remove_app(cluster, AppOwner(app="flowers"))
    assert [one["metadata"]["name"] for one in apiserver.all(TRIGGER)] == ["audit"]


def recreate(apiserver: FakeCluster, name: str) -> None:
    """Somebody deletes a Trigger and makes one of their own with the same name and labels."""
    theirs = {**AUDIT, "metadata": {**AUDIT["metadata"], "name": name}}
    apiserver.remove(TRIGGER, name, namespace="cams")
    apiserver.put(theirs, manager="helm", namespace="cams")


def test_an_object_that_was_made_anew_by_somebody_else_stays_and_is_reported(cluster: Cluster, apiserver: FakeCluster):
    deploy(cluster, full_app(), full_settings())
    recreate(apiserver, "flowers-alarm")
    fewer = replace(full_app(), triggers=full_app().triggers[:1])
    done = outcomes(deploy(cluster, fewer, full_settings()))
    assert done[LEFT] == {"Trigger/flowers-alarm"}
    assert "Trigger/flowers-gate" in done[REMOVED]
    assert outcomes(deploy(cluster, fewer, full_settings())).keys() == {UNCHANGED}, "the note is printed once"
    recreate(apiserver, "flowers")
    assert LEFT in {one.outcome for one in remove_app(cluster, OWNER)}
    assert [one["metadata"]["name"] for one in apiserver.all(TRIGGER)] == ["flowers", "flowers-alarm"]


def test_a_command_killed_between_two_objects_has_listed_what_there_is(cluster: Cluster, apiserver: FakeCluster):
    """Afterwards Helm makes a Trigger of a name that was listed and not applied yet, with our label."""
    with pytest.raises(Killed):
        deploy(cluster, full_app(), full_settings(), check=kill_after(9))
    listed = {f"{one.namespace}/{one.kind}/{one.name}" for one in read_inventory(cluster, "flowers").items}
    assert set(objects(apiserver)) < listed
    assert "cams/Trigger/flowers" not in objects(apiserver)
    apiserver.put({**AUDIT, "metadata": {**AUDIT["metadata"], "name": "flowers"}}, manager="helm", namespace="cams")
    remove_app(cluster, OWNER)
    assert set(objects(apiserver)) == {"cams/Trigger/flowers"}
    assert read_inventory(cluster, "flowers").version == ""


def apply_by_kubectl(cluster: Cluster) -> None:
    for manifest in render(plain_app()):
        cluster.apply(manifest, manager="kubectl")


def test_what_kubectl_applied_has_no_inventory_and_is_removed_only_when_that_is_said(
    cluster: Cluster, apiserver: FakeCluster
):
    apply_by_kubectl(cluster)
    apiserver.put(AUDIT, manager="helm", namespace="cams")
    before = objects(apiserver)
    assert read_inventory(cluster, "flowers").version == ""
    with pytest.raises(ConflictError, match="was not deployed by `eaves deploy`") as raised:
        remove_app(cluster, OWNER)
    assert "--adopt" in str(raised.value.hint)
    assert objects(apiserver) == before
    assert remove(cluster, adopt=True) == names(render(plain_app())) - {"Broker/eaves"}
    assert set(objects(apiserver)) == {"cams/Trigger/audit"}


ROSES = AppOwner(app="roses", agents="eaves-agents")


def test_all_of_it_goes_but_the_broker_that_apps_share(cluster: Cluster, knative: Knative):
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


def test_what_is_still_being_deleted_is_made_again_by_the_next_deploy(cluster: Cluster, apiserver: FakeCluster):
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


def test_an_app_that_isnt_there_is_distinguished_from_those_that_are(cluster: Cluster):
    deploy(cluster, plain_app(name="roses"), owner=ROSES)
    with pytest.raises(
        NotFoundError, match=r"the function 'flowers' does not exist in cams of edge \(known functions: roses\)"
    ):
        remove_app(cluster, OWNER)


def test_without_a_recorded_uid_what_another_app_owns_by_now_stays(cluster: Cluster):
    """A deploy that was killed lists objects that it hadn't applied; another app may have taken the name since."""
    deploy(cluster, plain_app())
    deploy(cluster, plain_app(name="roses"), owner=ROSES)
    items = {ObjectKey(item_kind(KSERVICE), "cams", "roses"): ""}
    assert [one.outcome for one in delete_objects(cluster, Inventory(app="flowers"), items)] == [LEFT]
    assert cluster.get(KSERVICE, "roses") is not None
    assert [one.outcome for one in delete_objects(cluster, Inventory(app="roses"), items)] == [REMOVED]
    assert cluster.get(KSERVICE, "roses") is None


API = "serving.knative.dev/v1"
SERVICE, BROKER, TRIGGER = f"{API}/Service", "eventing.knative.dev/v1/Broker", "eventing.knative.dev/v1/Trigger"


def by_kn(apiserver: FakeCluster, **labels: str) -> dict[str, Any]:
    """What `kn service create flowers` makes."""
    container = {"name": "user-container", "image": "registry.example/other:1", "env": [{"name": "A", "value": "b"}]}
    metadata = {"name": "flowers", "labels": labels}
    manifest = {"apiVersion": API, "kind": "Service", "metadata": metadata}
    return apiserver.put(
        {**manifest, "spec": {"template": {"spec": {"containers": [container]}}}}, manager="kn", namespace="cams"
    )


def test_a_function_of_kns_is_shown_with_its_fields_and_nothing_is_applied(cluster: Cluster, apiserver: FakeCluster):
    by_kn(apiserver)
    before = objects(apiserver)
    with pytest.raises(ConflictError, match=r"edge: Service flowers exists already .*: it was created by kn") as raised:
        deploy(cluster, plain_app())
    assert "`eaves deploy IMAGE --on knative --adopt`" in str(raised.value.hint)
    assert objects(apiserver) == before


def test_what_another_app_has_is_not_taken_from_it(cluster: Cluster):
    deploy(cluster, full_app(), full_settings())
    app = plain_app(name="flowers-alarm")  # its first trigger has the name of a trigger of `flowers`
    app = replace(app, triggers=(replace(app.triggers[0], name="flowers-alarm", function="flowers-alarm"),))
    owner = replace(OWNER, app="flowers-alarm")
    with pytest.raises(ConflictError, match=r"flowers-alarm exists already .*: it belongs to the app flowers of"):
        deploy(cluster, app, full_settings(), owner=owner)


def test_a_broker_that_others_made_is_theirs(cluster: Cluster, apiserver: FakeCluster):
    broker = {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "metadata": {"name": "default"}, "spec": {}}
    apiserver.put(broker, namespace="cams")
    with pytest.raises(ConflictError, match="Broker default exists already and does not belong to this app") as raised:
        deploy(cluster, plain_app(), KnativeSettings(broker="default"))
    assert "knative.create_broker: no" in str(raised.value.hint)
    done = outcomes(deploy(cluster, plain_app(), KnativeSettings(broker="default", create_broker=False)))
    assert done.keys() == {CREATED}
    remove_app(cluster, OWNER)
    assert apiserver.get(BROKER, "default", namespace="cams"), "it stays when its last trigger goes"


def test_a_namespace_for_agents_that_an_administrator_made_is_used_as_it_is(cluster: Cluster, apiserver: FakeCluster):
    labels = {"pod-security.kubernetes.io/enforce": "privileged"}
    apiserver.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": AGENTS, "labels": labels}})
    apiserver.denied = {("patch", "namespaces")}
    done = outcomes(deploy(cluster, full_app(), full_settings()))
    assert done[UNCHANGED] == {f"Namespace/{AGENTS}"}
    apiserver.denied = {("patch", "namespaces"), ("get", "namespaces")}
    assert outcomes(deploy(cluster, full_app(), full_settings())).keys() == {UNCHANGED}


def test_a_namespace_that_doesnt_let_agents_read_folders_isnt_changed_behind_its_owners_back(
    cluster: Cluster, apiserver: FakeCluster
):
    apiserver.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": AGENTS}})
    with pytest.raises(
        ConflictError, match=f"Namespace {AGENTS} exists already and does not belong to this app"
    ) as raised:
        deploy(cluster, full_app(), full_settings())
    assert f"kubectl label namespace {AGENTS} pod-security.kubernetes.io/enforce=privileged" in str(raised.value.hint)


def test_a_field_that_somebody_set_since_stops_the_deploy_there(cluster: Cluster, apiserver: FakeCluster):
    deploy(cluster, plain_app())
    trigger = apiserver.get(TRIGGER, "flowers", namespace="cams")
    trigger["spec"]["delivery"]["retry"] = 1
    apiserver.put(trigger, manager="kubectl-edit", namespace="cams")
    with pytest.raises(
        ConflictError, match="other owners have set fields of Trigger flowers: kubectl-edit owns"
    ) as raised:
        deploy(cluster, plain_app())
    assert raised.value.causes == (("kubectl-edit", ".spec.delivery.retry"),)
    done = outcomes(deploy(cluster, plain_app(), adopt=True))
    assert done[ADOPTED] == {"Trigger/flowers"}
    assert apiserver.get(TRIGGER, "flowers", namespace="cams")["spec"]["delivery"]["retry"] == 6
