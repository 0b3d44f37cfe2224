"""Several namespaces, people and tools on one cluster: nobody's objects are taken, deleted or doubled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eaves.errors import ConflictError
from knative.client.cluster import Cluster, open_cluster
from knative.deploy.inventory import (
    read_inventory,
)
from knative.deploy.ownership import LEFT, REMOVED, UNCHANGED, AppOwner
from knative.deploy.removal import remove_app
from knative.specs import ClusterApp, ClusterSource
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
from tests.fakes.kubernetes.apiserver import FakeCluster

CAMERA = (ClusterSource(name="camera", agent="node", options={"path": "/data/camera"}),)
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


def camera_app(site: str = "home") -> ClusterApp:
    """A function with a camera on each node."""
    return replace(plain_app(site=site), sources=CAMERA)


def owner(agents: str = AGENTS) -> AppOwner:
    return AppOwner(app="flowers", agents=agents)


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
) -> None:
    prod, staging = open_namespace("prod"), open_namespace("staging")
    deploy(prod, camera_app(), full_settings(), owner=owner())
    before = cameras(apiserver)
    deploy(staging, camera_app(), full_settings(), owner=owner())
    assert sorted(cameras(apiserver).values()) == ["http://flowers.prod.svc/", "http://flowers.staging.svc/"]
    assert outcomes(deploy(prod, camera_app(), full_settings(), owner=owner())).keys() == {UNCHANGED}
    remove_app(staging, owner())
    assert cameras(apiserver) == before
    assert set(before.values()) == {"http://flowers.prod.svc/"}


def test_an_object_that_helm_labelled_like_the_app_is_neither_pruned_nor_removed(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    deploy(cluster, plain_app())
    apiserver.put(AUDIT, manager="helm", namespace="cams")
    assert outcomes(deploy(cluster, plain_app())).keys() == {UNCHANGED}
    remove_app(cluster, AppOwner(app="flowers"))
    assert [one["metadata"]["name"] for one in apiserver.all(TRIGGER)] == ["audit"]


def test_what_is_listed_is_what_was_applied(cluster: Cluster, knative: Knative, apiserver: FakeCluster) -> None:
    deploy(cluster, full_app(), full_settings())
    listed = {(one.kind, one.namespace, one.name): one.uid for one in read_inventory(cluster, "flowers").items}
    rendered = [one for one in render(full_app(), full_settings()) if one["kind"] not in {"Broker", "Namespace"}]
    assert len(listed) == len(rendered)
    for one in rendered:
        kind, metadata = f"{one['apiVersion']}/{one['kind']}", one["metadata"]
        named = kind if kind == "v1/Service" else one["kind"]
        there = apiserver.get(kind, metadata["name"], namespace=metadata["namespace"])
        assert listed[named, metadata["namespace"], metadata["name"]] == there["metadata"]["uid"]


def recreate(apiserver: FakeCluster, name: str) -> None:
    """Somebody deletes a Trigger and makes one of their own with the same name and labels."""
    theirs = {**AUDIT, "metadata": {**AUDIT["metadata"], "name": name}}
    apiserver.remove(TRIGGER, name, namespace="cams")
    apiserver.put(theirs, manager="helm", namespace="cams")


def test_an_object_that_was_made_anew_by_somebody_else_stays_and_is_reported(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
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


def test_a_command_killed_between_two_objects_has_listed_what_there_is(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
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
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
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
