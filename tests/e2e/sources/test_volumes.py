"""Agents in a cluster: what lies in a volume, or in a folder of a node, becomes predictions at a subscriber."""

import json
import secrets
import shutil
from pathlib import Path
from typing import Any

import pytest

from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED
from knative.client.cluster import Cluster, open_cluster
from knative.client.kinds import CLAIM, DAEMON_SET, NAMESPACE, POD, STATEFUL_SET
from knative.resources.agent import NODE_SPOOLS, SOURCE_LABEL
from tests.contract.sinks import of, subjects
from tests.e2e.harness import KnativeSink
from tests.e2e.places import NAME, Namespaces, Place
from tests.e2e.volumes import claimed, clear_node, make_claim, make_node_folder, on_node, put_files
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(600)
CLAIMED = "photos"
NODE_FOLDERS = "/var/tmp"


def configure(place: Place, outside: KnativeSink, source: dict[str, Any], **knative: str) -> None:
    """One source; predictions go to the subscriber. `knative` names the agents' container image."""
    triggers = [{"name": "out", "filter": {"type": IMAGE_CLASSIFIED}, "url": outside.url}]
    place.configure(sources=[{"spool_size": "100Mi", **source}], triggers=triggers, knative=knative)


def pictures(tiny_artifact: Path, *names: str) -> dict[str, bytes]:
    """Image files by path."""
    content = [path.read_bytes() for path in sorted((tiny_artifact / "golden").glob("*.png"))]
    return {name: content[number % len(content)] for number, name in enumerate(names)}


def read_queue(place: Place, agent: str, *filters: str) -> list[dict[str, Any]]:
    """Entries of an agent's queue; none while its pod is replaced."""
    words = ("queue", "list", "--on", "knative", "--agent", agent, "-o", "json", *filters)
    done = place.eaves(*words, codes=(0, 66, 69))
    return list(json.loads(done.stdout)) if done.returncode == 0 else []


def wait_for(outside: KnativeSink, *names: str) -> None:
    """Until each has its prediction."""
    wait_until(lambda: subjects(outside) >= set(names), 180, pause_s=0.5, what=f"predictions of {', '.join(names)}")
    assert {event.type for event in outside.received} == {IMAGE_CLASSIFIED}


def check_queue(place: Place, source: str) -> None:
    """Its agent's queue is asked by kubectl exec in its pod; its report comes by the pod proxy. Both are soon empty.

    The Broker answers once it has delivered, so an image is in the queue for a moment longer than on its way; and an
    agent without memory sends it again when its first pod is replaced.
    """

    def reported() -> list[dict[str, Any]]:
        row = place.read_status()
        return [agent for agent in row["agents"] if agent["name"] == f"{NAME}.{source}" and agent["queued"] == 0]

    (status,) = wait_until(reported, 60, pause_s=1, what="an empty queue in status")
    assert (status["state"], status["dead"], [one["name"] for one in status["sources"]]) == ("running", 0, [source])
    if shutil.which("kubectl"):
        wait_until(lambda: not read_queue(place, f"{NAME}.{source}"), 60, pause_s=1, what="an empty queue by exec")


def restart(cluster: Cluster, source: str) -> None:
    """End a source's pod and wait for the next one."""
    selector = f"{SOURCE_LABEL}={source}"

    def staying() -> list[dict[str, Any]]:
        """Without the one that a newer template has replaced and that is on its way out."""
        return [one for one in cluster.list(POD, selector=selector) if "deletionTimestamp" not in one["metadata"]]

    wait_until(lambda: len(staying()) == 1, 120, pause_s=0.5, what="one agent")
    (before,) = staying()
    cluster.delete(POD, before["metadata"]["name"])

    def replaced() -> bool:
        return any(
            one["metadata"]["uid"] != before["metadata"]["uid"] and one["status"]["phase"] == "Running"
            for one in cluster.list(POD, selector=selector)
        )

    wait_until(replaced, 120, pause_s=0.5, what="the next agent")


def test_images_in_a_volume_are_predicted_once_and_those_that_come_after_a_restart_too(
    place: Place, outside: KnativeSink, image: str, agent_image: str, tiny_artifact: Path
):
    make_claim(place.cluster, CLAIMED)
    put_files(place.cluster, claimed(CLAIMED), pictures(tiny_artifact, "a.png", "deep/b.png"), image)
    configure(place, outside, {"name": "inbox", "claim": CLAIMED}, agent_image=agent_image)
    place.deploy(image)
    wait_for(outside, "a.png", "deep/b.png")
    assert ("StatefulSet", "1/1") in [(part.kind, part.pods) for part in place.status().parts]
    restart(place.cluster, "inbox")
    put_files(place.cluster, claimed(CLAIMED), pictures(tiny_artifact, "c.png"), image)
    wait_for(outside, "c.png")
    assert [len(of(outside, name)) for name in ("a.png", "deep/b.png", "c.png")] == [1, 1, 1]
    assert of(outside, "a.png")[0].extensions["causesource"] == "/eaves/test/inbox"
    place.eaves("remove", NAME)
    assert place.cluster.list(STATEFUL_SET) == []
    claims = {one["metadata"]["name"] for one in place.cluster.list(CLAIM)}
    assert claims == {CLAIMED, f"spool-{NAME}-inbox-0"}  # images that nobody has predicted yet are kept


def test_images_of_a_source_that_goes_through_the_broker_are_seen_by_other_triggers_too(
    place: Place, outside: KnativeSink, image: str, agent_image: str, tiny_artifact: Path
):
    make_claim(place.cluster, CLAIMED)
    place.configure(
        sources=[{"name": "archive", "claim": CLAIMED, "through": "broker"}],
        triggers=[{"name": "all", "url": outside.url}],
        knative={"agent_image": agent_image},
    )
    place.deploy(image)
    wait_until(place.delivers, 60, pause_s=0.2, what="the Broker and its Triggers")
    put_files(place.cluster, claimed(CLAIMED), pictures(tiny_artifact, "a.png"), image)
    wait_until(
        lambda: {event.type for event in of(outside, "a.png")} == {IMAGE_CAPTURED, IMAGE_CLASSIFIED},
        180,
        pause_s=0.5,
        what="the image and its prediction",
    )
    check_queue(place, "archive")
    place.eaves("remove", NAME)


def test_images_in_a_folder_of_the_node_are_predicted(
    namespaces: Namespaces, place: Place, outside: KnativeSink, image: str, agent_image: str, tiny_artifact: Path
):
    source, agents = f"camera-{secrets.token_hex(3)}", namespaces.name("agents")
    folder = f"{NODE_FOLDERS}/{namespaces.prefix}"
    configure(
        place,
        outside,
        {"name": source, "agent": "node", "path": folder},
        agent_image=agent_image,
        agent_namespace=agents,
    )
    there = open_cluster(kubeconfig=namespaces.kubeconfig, namespace=agents)
    make_node_folder(there, folder, image)
    place.deploy(image)
    try:
        put_files(there, on_node(folder), pictures(tiny_artifact, "a.png", "b.png"), image)
        wait_for(outside, "a.png", "b.png")
        status = place.read_status()
        assert [
            one["pods"] for one in status["parts"] if one["kind"] == "DaemonSet" and one["component"] == "source"
        ] == ["1/1"]
        check_queue(place, source)
        place.eaves("remove", NAME)
        assert there.list(DAEMON_SET) == []
        wait_until(lambda: not there.list(POD, selector=f"{SOURCE_LABEL}={source}"), 60, pause_s=0.5, what="no agent")
        assert there.get(NAMESPACE, agents) is not None  # others' agents may be in it
    finally:
        clear_node(there, NODE_FOLDERS, [namespaces.prefix], image)
        clear_node(there, NODE_SPOOLS, [place.cluster.namespace], image)
        there.delete(NAMESPACE, agents)
