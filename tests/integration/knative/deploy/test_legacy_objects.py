"""What a version of Eaves without inventories deployed: taken over whole, its agents moved, their queues kept.

`former/deployed.yaml` is what that version (commit 309bf8e) rendered for the app `flowers` of the site `barn` in the
namespace `cams`, and applied as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from eaves.errors import ConflictError, InvalidError, UnreachableClusterError
from knative.client.cluster import Cluster
from knative.deploy.diff import diff_app
from knative.deploy.objects.apply_result import REMOVED, UNCHANGED
from knative.deploy.objects.inventory import read_inventory
from knative.deploy.objects.labelled_objects import AppOwner
from knative.deploy.removal import remove_app
from knative.resources.fields.labels import MANAGER
from knative.specs import ClusterApp
from tests.cluster.apps import full_app, full_settings, plain_app
from tests.cluster.deploys import AGENTS, OWNER, deploy, objects, outcomes, render
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import FakeCluster, Reply, Request, refusal

DEPLOYED = Path(__file__).parent / "former" / "deployed.yaml"
DAEMON_SET, FORMER = "apps/v1/DaemonSet", f"{AGENTS}/DaemonSet/flowers-barn-camera"
NEW = f"{AGENTS}/DaemonSet/flowers-cams-camera"


@pytest.fixture
def former(cluster: Cluster, knative: Knative) -> FakeCluster:
    """A cluster with what that version applied."""
    for manifest in read_deployed():
        cluster.apply(manifest, manager=MANAGER)
    return knative.server


def read_deployed() -> Iterator[dict[str, Any]]:
    yield from yaml.safe_load_all(DEPLOYED.read_text())


def same_app(site: str = "barn") -> ClusterApp:
    """The app that was deployed."""
    app = full_app()
    function = replace(app.function, site=site)
    return replace(app, function=function, triggers=app.triggers[:1], sources=app.sources[:2])


def volumes(one: Mapping[str, Any]) -> dict[str, str]:
    """Folders of the node, by the volume's name."""
    listed = one["spec"]["template"]["spec"]["volumes"]
    return {volume["name"]: volume["hostPath"]["path"] for volume in listed if "hostPath" in volume}


def test_a_deploy_takes_everything_over_and_moves_the_agents(cluster: Cluster, former: FakeCluster) -> None:
    done = outcomes(deploy(cluster, same_app(), full_settings()))
    assert done[REMOVED] == {
        "DaemonSet/flowers-barn-camera",
        "SinkBinding/flowers-barn-camera",
        "ServiceAccount/flowers-barn",
    }
    rendered = {
        f"{one['metadata']['namespace']}/{one['kind']}/{one['metadata']['name']}"
        for one in render(same_app(), full_settings())
        if one["kind"] != "Namespace"
    }
    assert set(objects(former)) == rendered | {"cams/DaemonSet/flowers-pin"}, (
        "it goes when the pins that replace it are ready"
    )
    assert all(item.uid for item in read_inventory(cluster, "flowers").items)
    assert outcomes(deploy(cluster, same_app(), full_settings())).keys() == {UNCHANGED}
    remove_app(cluster, OWNER)
    assert objects(former) == {}


def test_the_former_agent_ends_before_the_new_one_starts(cluster: Cluster, former: FakeCluster) -> None:
    """Its pod is seen for a while after its DaemonSet is gone."""
    labels = {"eaves.dev/app": "flowers", "eaves.dev/source": "camera", "eaves.dev/site": "barn"}
    metadata = {"name": "flowers-barn-camera-x", "namespace": AGENTS, "labels": labels}
    former.put({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})
    looks: list[str] = []

    def fault(request: Request) -> Reply | None:
        moved = request.path.endswith("/flowers-cams-camera") and "dryRun" not in request.query
        if request.method == "GET" and request.path.endswith(f"/{AGENTS}/pods"):
            looks.append("pods")
            assert FORMER not in objects(former)
            if len(looks) == 3:
                former.remove("Pod", "flowers-barn-camera-x", namespace=AGENTS)
        elif request.method == "PATCH" and moved:
            looks.append(request.path.split("/")[-2])
        return None

    former.fault = fault
    deploy(cluster, same_app(), full_settings())
    assert looks == ["sinkbindings", "pods", "pods", "daemonsets"]


def test_an_agent_that_the_cluster_refuses_ends_none(cluster: Cluster, former: FakeCluster) -> None:
    admit = former.admit
    former.admit = lambda manifest: (
        "no host paths" if manifest["metadata"]["name"] == "flowers-cams-camera" else admit(manifest)
    )
    with pytest.raises(InvalidError, match="no host paths"):
        deploy(cluster, same_app(), full_settings())
    assert FORMER in objects(former)


@pytest.mark.parametrize("writes", range(0, 22, 3))
def test_a_command_killed_on_the_way_continues_the_next_time(
    writes: int, cluster: Cluster, former: FakeCluster
) -> None:
    """Killed at any write, of the inventory too: then nothing of the former version is left, nor unlisted."""

    served: list[str] = []

    def fault(request: Request) -> Reply | None:
        if request.method in {"PATCH", "DELETE"}:
            served.append(request.path)
            return Reply(status=0) if len(served) > writes else None
        return None

    former.fault = fault
    with pytest.raises(UnreachableClusterError):
        deploy(cluster, same_app(), full_settings())
    former.fault = lambda request: None
    deploy(cluster, same_app(), full_settings())
    assert FORMER not in objects(former)
    assert NEW in objects(former)
    deploy(cluster, plain_app(), full_settings())
    remove_app(cluster, OWNER)
    assert objects(former) == {}


def test_agents_of_the_same_app_in_another_namespace_are_left_to_it(cluster: Cluster, former: FakeCluster) -> None:
    """The former version pointed the agents of both namespaces at the one that was deployed last."""
    agent = former.get(DAEMON_SET, "flowers-barn-camera", namespace=AGENTS)
    (container,) = agent["spec"]["template"]["spec"]["containers"]
    for entry in container["env"]:
        if entry["name"] == "EAVES_FUNCTION_URL":
            entry["value"] = "http://flowers.staging.svc/"
    cluster.apply(
        {
            **{key: agent[key] for key in ("apiVersion", "kind", "spec")},
            "metadata": {key: agent["metadata"][key] for key in ("name", "namespace", "labels")},
        },
        manager=MANAGER,
    )
    done = outcomes(deploy(cluster, same_app(), full_settings()))
    assert REMOVED not in done
    assert {FORMER, NEW} <= set(objects(former))
    assert former.get("ServiceAccount", "flowers-barn", namespace=AGENTS), "its pods use it"


def test_an_agents_namespace_that_was_renamed_before_is_found(cluster: Cluster, former: FakeCluster) -> None:
    owner = replace(OWNER, agents="two")
    deploy(cluster, same_app(), full_settings(agent_namespace="two"), owner=owner)
    assert [place for place in objects(former) if "camera" in place and "EventType" not in place] == [
        "two/DaemonSet/flowers-cams-camera",
        "two/SinkBinding/flowers-cams-camera",
    ]


def test_who_may_not_look_everywhere_looks_where_agents_are(cluster: Cluster, former: FakeCluster) -> None:
    def fault(request: Request) -> Reply | None:
        if request.method == "GET" and request.path == "/apis/apps/v1/daemonsets":
            said = 'daemonsets.apps is forbidden: User "jane" cannot list resource "daemonsets" in API group "apps"'
            return refusal(403, "Forbidden", said)
        return None

    former.fault = fault
    deploy(cluster, same_app(), full_settings())
    assert FORMER not in objects(former)


def test_a_site_that_was_renamed_since_is_refused_until_its_queue_is_moved(
    cluster: Cluster, former: FakeCluster
) -> None:
    stable = replace(OWNER, site="stable")
    before = objects(former)
    with pytest.raises(
        ConflictError, match="still runs under the site's earlier name barn, which is now stable"
    ) as raised:
        deploy(cluster, same_app("stable"), full_settings(), owner=stable)
    assert f"kubectl --context edge -n {AGENTS} delete daemonset,sinkbinding flowers-barn-camera" in str(
        raised.value.hint
    )
    assert objects(former) == before
    deploy(cluster, same_app(), full_settings())
    deploy(cluster, same_app("stable"), full_settings(), owner=stable)
    assert len([place for place in objects(former) if place.startswith(f"{AGENTS}/DaemonSet")]) == 1


def test_a_removal_takes_what_that_version_applied_and_nothing_else(cluster: Cluster, former: FakeCluster) -> None:
    labels = {"eaves.dev/app": "flowers", "app.kubernetes.io/managed-by": "Helm"}
    trigger = {"apiVersion": "eventing.knative.dev/v1", "kind": "Trigger", "metadata": {"name": "a", "labels": labels}}
    former.put({**trigger, "spec": {"broker": "eaves"}}, manager="helm", namespace="cams")
    remove_app(cluster, AppOwner(app="flowers", site="barn", agents=AGENTS))
    assert set(objects(former)) == {"cams/Trigger/a", "cams/Broker/eaves"}


def test_a_difference_shows_what_moves(cluster: Cluster, former: FakeCluster) -> None:
    lines = list(diff_app(cluster, render(same_app(), full_settings()), OWNER))
    heads = {line for line in lines if line.startswith("--- ") and "camera" in line}
    assert "--- daemonset/flowers-barn-camera (there)" in heads
    assert FORMER in objects(former)
