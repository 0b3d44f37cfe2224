"""The same app in two namespaces of a cluster, with agents on the same node: neither touches the other's."""

import secrets
from pathlib import Path
from typing import Any

import pytest

from eaves.events import IMAGE_CLASSIFIED
from knative.client.cluster import Cluster, open_cluster
from knative.client.kinds import DAEMON_SET, NAMESPACE, POD, SINK_BINDING
from knative.inventory import read_inventory
from knative.resources.agent import NODE_SPOOLS, SOURCE_LABEL
from knative.resources.metadata import NAMESPACE_LABEL
from tests.contract.sinks import of, subjects
from tests.e2e.conftest import open_project
from tests.e2e.harness import KnativeSink
from tests.e2e.places import NAME, Namespaces, Place
from tests.e2e.volumes import clear_node, make_node_folder, on_node, put_files
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(900)
NODE_FOLDERS = "/var/tmp"


def configure(place: Place, sink: KnativeSink, agent_image: str, camera: str, folder: str, agents: str) -> None:
    """A function with one camera on each node, whose predictions go to a subscriber."""
    place.configure(
        sources=[{"name": camera, "agent": "node", "path": folder}],
        triggers=[{"name": "out", "filter": {"type": IMAGE_CLASSIFIED}, "url": sink.url}],
        knative={"agent_image": agent_image, "agent_namespace": agents},
    )


def agents_of(place: Place, there: Cluster) -> dict[str, Any]:
    """UID of each DaemonSet of an app in the namespace of agents."""
    found = there.list(DAEMON_SET, selector=f"{NAMESPACE_LABEL}={place.cluster.namespace}")
    return {str(one["metadata"]["name"]): one["metadata"]["uid"] for one in found}


def wait_for(sink: KnativeSink, *names: str) -> None:
    wait_until(lambda: subjects(sink) >= set(names), 240, pause_s=0.5, what=f"predictions of {', '.join(names)}")


def test_a_removal_takes_one_of_two_and_an_agents_namespace_that_changes_moves_the_other(
    namespaces: Namespaces, cluster: Cluster, image: str, agent_image: str, tiny_artifact: Path, tmp_path: Path
):
    camera, first, second = f"camera-{secrets.token_hex(3)}", namespaces.name("agents"), namespaces.name("moved")
    folder = f"{NODE_FOLDERS}/{namespaces.prefix}-two"
    content = min((tiny_artifact / "golden").glob("*.png")).read_bytes()
    prod, staging = (open_project(namespaces, made_folder(tmp_path / name)) for name in ("prod", "staging"))
    sinks = [KnativeSink(cluster, f"/{name}-{secrets.token_hex(3)}") for name in ("prod", "staging")]
    there, moved = (open_cluster(kubeconfig=namespaces.kubeconfig, namespace=name) for name in (first, second))
    make_node_folder(there, folder, image)
    try:
        for place, sink in zip((prod, staging), sinks, strict=True):
            configure(place, sink, agent_image, camera, folder, first)
            place.deploy(image)
        before = agents_of(prod, there)
        assert len(there.list(DAEMON_SET)) == 2
        put_files(there, on_node(folder), {"a.png": content}, image)
        for sink in sinks:
            wait_for(sink, "a.png")

        staging.eaves("remove", NAME)
        assert agents_of(prod, there) == before
        assert [one["metadata"]["name"] for one in there.list(DAEMON_SET)] == list(before)
        assert read_inventory(staging.cluster, NAME).version == ""
        put_files(there, on_node(folder), {"b.png": content}, image)
        wait_for(sinks[0], "b.png")

        configure(prod, sinks[0], agent_image, camera, folder, second)
        prod.deploy(image)
        assert (there.list(DAEMON_SET), there.list(SINK_BINDING)) == ([], [])
        assert there.list(POD, selector=f"{SOURCE_LABEL}={camera}") == []
        assert len(agents_of(prod, moved)) == 1
        put_files(moved, on_node(folder), {"c.png": content}, image)
        wait_for(sinks[0], "c.png")
        assert [len(of(sinks[0], name)) for name in ("a.png", "b.png", "c.png")] == [1, 1, 1]
        assert "b.png" not in subjects(sinks[1])
        prod.eaves("remove", NAME)
        assert moved.list(DAEMON_SET) == []
    finally:
        clear_node(there, NODE_FOLDERS, [f"{namespaces.prefix}-two"], image)
        folders = [prod.cluster.namespace, staging.cluster.namespace]
        clear_node(there, NODE_SPOOLS, folders, image)
        for name in (first, second, prod.cluster.namespace, staging.cluster.namespace):
            namespaces.cluster.delete(NAMESPACE, name)


def made_folder(path: Path) -> Path:
    path.mkdir()
    return path
