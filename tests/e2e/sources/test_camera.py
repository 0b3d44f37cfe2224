"""Cameras at a site: a stream with a password, outages of the camera and its agent, files and devices of nodes."""

import logging
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eaves.events import IMAGE_CLASSIFIED
from knative.client.cluster import open_cluster
from knative.client.kinds import DAEMON_SET, KSERVICE, POD
from knative.resources.agent import NODE_SPOOLS, SOURCE_LABEL
from tests.e2e.harness import KnativeSink
from tests.e2e.places import NAME, Namespaces, Place
from tests.e2e.rtsp import start_camera
from tests.e2e.sources.test_volumes import NODE_FOLDERS, read_queue, restart
from tests.e2e.volumes import clear_node, make_node_folder, on_node, put_files
from tests.inputs.videos import make_video
from tests.waiting import wait_until

log = logging.getLogger(__name__)
pytestmark = pytest.mark.timeout(900)
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
AWAY_S = 30.0
WARM_S = 300
"""Seconds that the function stays without requests, so that the time after an outage has no cold start."""
BACK_S = 8.0
"""Time from the camera's return to the first prediction, seconds; docs/sources.md promises 5 s without a cluster."""


def configure(place: Place, outside: KnativeSink, camera_image: str, source: dict[str, Any], **knative: str) -> None:
    """One camera; predictions go to the subscriber. No other container image of agents is needed."""
    triggers = [{"name": "out", "filter": {"type": IMAGE_CLASSIFIED}, "url": outside.url}]
    values = {"kind": "camera", "spool_size": "100Mi", **source}
    place.configure(
        sources=[values],
        triggers=triggers,
        knative={"agent_camera_image": camera_image, **knative},
        scale={"idle_s": WARM_S},
    )


def read_source(place: Place) -> dict[str, Any]:
    """What `eaves status` shows of the only source, with its agent's queue; empty while the agent doesn't answer."""
    row = place.read_status()
    for agent in row["agents"]:
        for source in agent["sources"]:
            return {**source, "queued": agent["queued"]}
    return {}


def list_queue(place: Place) -> set[str]:
    """Ids of the events that wait in the spool of the only agent."""
    return {entry["event_id"] for entry in read_queue(place, f"{NAME}.gate")}


def count_ids(outside: KnativeSink) -> int:
    return len({event.id for event in outside.received})


def wait_for_more(outside: KnativeSink) -> float:
    """Wait for three predictions that weren't there; return the time until the first one, seconds."""
    before, began_s = count_ids(outside), time.monotonic()
    wait_until(lambda: count_ids(outside) > before, 180, pause_s=0.1, what="a prediction")
    first_s = time.monotonic() - began_s
    wait_until(lambda: count_ids(outside) >= before + 3, 180, pause_s=0.5, what="more predictions")
    return first_s


def has_state(place: Place, state: str, reason: str = "") -> Callable[[], bool]:
    def found() -> bool:
        source = read_source(place)
        return source.get("state") == state and reason in (source.get("reason") or "")

    return found


def is_played(place: Place) -> bool:
    """Whether a recording is played to its end and all its predictions are sent."""
    source = read_source(place)
    return source.get("state") == "finished" and source["queued"] == 0


@needs_kubectl
def test_a_stream_is_predicted_through_outages_of_the_camera_and_of_the_agent(
    place: Place, outside: KnativeSink, image: str, camera_image: str, rtsp_image: str
):
    camera = start_camera(place.cluster, rtsp_image, make_video())
    camera.make_secret("login")
    configure(place, outside, camera_image, {"name": "gate", "url": camera.url, "secret": "login"})
    place.deploy(image)
    wait_for_more(outside)
    assert {event.extensions["causesource"] for event in outside.received} == {"/eaves/test/gate"}
    assert {event.extensions["partitionkey"] for event in outside.received} == {"gate"}

    camera.stop()
    wait_until(has_state(place, "waiting"), AWAY_S, pause_s=1, what="the source to notice")
    time.sleep(AWAY_S)  # the outage itself, whose length is what is tested
    camera.start()
    back_s = wait_for_more(outside)
    log.info("back_s %.1f", back_s)
    assert back_s < BACK_S

    place.cluster.delete(KSERVICE, NAME)  # nothing predicts, so images wait in the agent's spool
    wait_until(lambda: len(list_queue(place)) >= 3, 120, pause_s=1, what="images in the spool")
    camera.stop()
    kept = list_queue(place)
    restart(place.cluster, "gate")
    wait_until(
        lambda: list_queue(place) >= kept,
        120,
        pause_s=1,
        what="the next agent",
    )
    place.deploy(image)
    wait_until(
        lambda: {event.extensions["causeid"] for event in outside.received} >= kept, 180, pause_s=0.5,
        what="predictions of what was kept",
    )  # fmt: skip
    logs = place.eaves("logs", f"{NAME}.gate", "--on", "knative").stdout
    assert camera.password not in logs
    place.eaves("remove", NAME)


def test_a_wrong_password_is_reported_and_a_changed_secret_is_used(
    place: Place, outside: KnativeSink, image: str, camera_image: str, rtsp_image: str
):
    camera = start_camera(place.cluster, rtsp_image, make_video())
    camera.make_secret("login", password="wrong")
    configure(place, outside, camera_image, {"name": "gate", "url": camera.url, "secret": "login"})
    place.deploy(image)
    wait_until(has_state(place, "waiting", "refused"), 120, pause_s=1, what="the refusal")
    camera.make_secret("login")  # the kubelet writes a changed Secret within about a minute
    wait_for_more(outside)
    place.eaves("remove", NAME)


def test_a_recording_of_each_node_is_predicted_and_events_name_the_node(
    namespaces: Namespaces, place: Place, outside: KnativeSink, image: str, camera_image: str, tmp_path: Path
):
    name, agents = f"belt-{secrets.token_hex(3)}", namespaces.name("agents")
    folder = f"{NODE_FOLDERS}/{namespaces.prefix}"
    video = make_video("mjpeg", seconds=2)
    recording = video.write(tmp_path / "night.mjpeg").read_bytes()
    source = {"name": name, "url": f"{folder}/night.mjpeg"}
    configure(place, outside, camera_image, source, agent_namespace=agents)
    there = open_cluster(kubeconfig=namespaces.kubeconfig, namespace=agents)
    make_node_folder(there, folder, image)
    place.deploy(image)
    try:
        wait_until(has_state(place, "waiting", "there is no file"), 60, pause_s=1, what="the source to say so")
        put_files(there, on_node(folder), {"night.mjpeg": recording}, image)
        wait_until(lambda: count_ids(outside) >= 10, 180, pause_s=0.5, what="predictions")
        (pod,) = there.list(POD, selector=f"{SOURCE_LABEL}={name}")
        keys = {event.extensions["partitionkey"] for event in outside.received}
        assert keys == {f"{name}@{pod['spec']['nodeName']}"}
        wait_until(lambda: is_played(place), 120, pause_s=1, what="the end of the recording")
        restart(there, name)
        wait_until(lambda: is_played(place), 120, pause_s=1, what="the recording played again")
        sent = [event.id for event in outside.received]
        assert len(sent) == len(set(sent)) <= len(video.packets), "the spool on the node knows them"
        place.eaves("remove", NAME)
        assert there.list(DAEMON_SET) == []
        wait_until(lambda: not there.list(POD, selector=f"{SOURCE_LABEL}={name}"), 60, pause_s=0.5, what="no agent")
    finally:
        clear_node(there, NODE_FOLDERS, [namespaces.prefix], image)
        clear_node(there, NODE_SPOOLS, [place.cluster.namespace], image)


def test_an_agent_whose_device_is_missing_runs_and_says_so(
    namespaces: Namespaces, place: Place, outside: KnativeSink, image: str, camera_image: str
):
    agents, device = namespaces.name("agents"), f"/dev/eaves-{secrets.token_hex(3)}"
    configure(place, outside, camera_image, {"name": "belt", "url": device}, agent_namespace=agents)
    place.deploy(image)
    there = open_cluster(kubeconfig=namespaces.kubeconfig, namespace=agents)
    try:
        wait_until(has_state(place, "waiting", f"there is no device {device}"), 60, pause_s=1, what="the source")
        row = place.read_status()
        assert ("DaemonSet", "1/1") in [(one["kind"], one["pods"]) for one in row["parts"]]
        place.eaves("remove", NAME)
        wait_until(lambda: not there.list(POD, selector=f"{SOURCE_LABEL}=belt"), 60, pause_s=0.5, what="no agent")
    finally:
        clear_node(there, NODE_SPOOLS, [place.cluster.namespace], image)
