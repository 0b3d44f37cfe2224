"""A function and its agent on a node at the edge, whose link to the rest of the cluster is cut for minutes."""

import logging
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from eaves.events import IMAGE_CLASSIFIED
from knative.client.kinds import KSERVICE, NODE, POD
from knative.resources.function import PIN_PART
from knative.resources.metadata import PART_LABEL
from tests.contract.sinks import subjects
from tests.e2e.harness import KnativeSink, is_ready
from tests.e2e.outages import is_pinned
from tests.e2e.places import NAME, Place
from tests.e2e.pods import pod_phase, start_pod
from tests.e2e.relay.test_relay import SHOOT
from tests.e2e.sources.test_volumes import pictures
from tests.e2e.volumes import claimed, make_claim, put_files
from tests.waiting import wait_until

log = logging.getLogger(__name__)
pytestmark = pytest.mark.timeout(3600)
CLAIM, CAMERA, PAUSE_S = "photos", "camera", 2.0
EXTRA_S = 120.0
"""Seconds that the camera takes images before the cut, and after it."""


@pytest.fixture
def edge(pytestconfig: pytest.Config, place: Place) -> dict[str, Any]:
    """Fields of pods that run on the node at the edge, which may be tainted.

    Who tolerates every taint gets pods onto a node that is away, and waits for them.
    """
    node = str(pytestconfig.getoption("--edge-node") or "")
    if not node:
        pytest.skip("needs --edge-node, --cut-edge and --join-edge: a node, and commands that cut and connect it")
    taints = (place.cluster.get(NODE, node) or {})["spec"].get("taints", ())
    keys = [one["key"] for one in taints if not one["key"].startswith("node.kubernetes.io/")]
    own = [{"key": key, "operator": "Exists"} for key in keys]
    return {"nodeSelector": {"kubernetes.io/hostname": node}, "tolerations": own}


@pytest.fixture
def cut(pytestconfig: pytest.Config, edge: dict[str, Any]) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """No link between the node and the rest of the cluster, for the time of a `with`."""

    def run(name: str) -> None:
        subprocess.run(str(pytestconfig.getoption(f"--{name}-edge")), shell=True, check=True, timeout=60)

    @contextmanager
    def away() -> Iterator[None]:
        run("cut")
        try:
            yield
        finally:
            run("join")

    yield away
    run("join")


def node_ready(place: Place, node: str) -> bool:
    conditions = (place.cluster.get(NODE, node) or {})["status"]["conditions"]
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def test_images_taken_while_the_node_is_away_are_predicted_once(
    place: Place, outside: KnativeSink, image: str, second_image: str, agent_image: str, tiny_artifact: Path,
    edge: dict[str, Any], cut: Callable[[], AbstractContextManager[None]], pytestconfig: pytest.Config,
):  # fmt: skip
    node, cut_s = edge["nodeSelector"]["kubernetes.io/hostname"], float(pytestconfig.getoption("--edge-cut-s"))
    make_claim(place.cluster, CLAIM)
    place.configure(
        sources=[{"name": "inbox", "claim": CLAIM, "spool_size": "200Mi"}],
        triggers=[{"name": "out", "filter": {"type": IMAGE_CLASSIFIED}, "url": outside.url}],
        knative={"agent_image": agent_image, "pod": edge},
        scale={"min": 1},
    )
    place.deploy(image)
    pods = place.cluster.list(POD, selector="app.kubernetes.io/managed-by=eaves")
    assert {one["spec"]["nodeName"] for one in pods} == {node}
    wait_until(lambda: is_pinned(place, image, edge["nodeSelector"]), 120, pause_s=0.5, what="the pin")
    put_files(place.cluster, claimed(CLAIM), pictures(tiny_artifact, *(f"seed/{n}.png" for n in range(3))), image)
    count = int((cut_s + 2 * EXTRA_S) / PAUSE_S)
    command = ["python", "-I", "-c", SHOOT, str(count), str(PAUSE_S)]
    staying = {**edge, "tolerations": [{"operator": "Exists"}]}  # a cluster replaces pods of a node that is away
    start_pod(place.cluster, CAMERA, image, command, volumes={"photos": claimed(CLAIM)}, **staying)
    wait_until(lambda: len(outside.received) >= 10, 300, pause_s=1, what="predictions before the cut")

    with cut():
        began_s, before = time.monotonic(), len(outside.received)
        wait_until(lambda: not node_ready(place, node), 180, pause_s=1, what="a node that is away")
        place.deploy(second_image, "--timeout", "30", codes=(0, 69))
        status = place.eaves("status", codes=(0, 69))
        log.info("while the node is away: %s%s", status.stdout, status.stderr)
        time.sleep(max(0.0, cut_s - (time.monotonic() - began_s)))  # the cut's length is what is tested
        log.info("%d predictions arrived during the cut", len(outside.received) - before)
    joined_s = time.monotonic()
    wait_until(lambda: node_ready(place, node), 180, pause_s=0.5, what="the node")
    log.info("the node is ready %.1f s after its link", time.monotonic() - joined_s)
    wait_until(lambda: pod_phase(place.cluster, CAMERA) == "Succeeded", 600, pause_s=1, what="the camera's end")
    wanted = {f"{number:05d}.png" for number in range(count)} | {f"seed/{number}.png" for number in range(3)}

    wait_until(lambda: subjects(outside) >= wanted, 600, pause_s=1, what="every prediction")
    log.info("every prediction is there %.1f s after the link", time.monotonic() - joined_s)
    received = outside.received
    ids = {(event.subject, event.id) for event in received}
    log.info("%d predictions of %d images, %d came twice", len(ids), len(wanted), len(received) - len(ids))
    assert len(ids) == len(wanted)
    wait_until(lambda: is_pinned(place, second_image, edge["nodeSelector"]), 180, pause_s=1, what="the second pin")
    place.eaves("promote", NAME)
    wait_until(lambda: is_ready(place.cluster.get(KSERVICE, NAME) or {}), 180, pause_s=1, what="the second revision")
    place.eaves("remove", NAME)


def test_a_node_that_is_away_holds_no_rollout_up_and_has_its_pin_bound_already(
    place: Place, image: str, second_image: str, edge: dict[str, Any], cut: Callable[[], AbstractContextManager[None]]
):
    node = edge["nodeSelector"]["kubernetes.io/hostname"]
    place.configure(
        knative={"pod": {"tolerations": edge["tolerations"]}},
        rollout={"steps": ["10"], "step_s": 86400, "deadline_s": 86400},
    )
    place.deploy(image)
    wait_until(lambda: is_pinned(place, image), 180, pause_s=0.5, what="the pins")
    with cut():
        wait_until(lambda: not node_ready(place, node), 180, pause_s=1, what="a node that is away")
        place.deploy(second_image)
        place.eaves("rollout", NAME, "--percent", "10")
        shares = (f"{NAME}-00001 90 %", f"{NAME}-00002 10 %")
        wait_until(lambda: place.status().traffic == shares, 60, pause_s=0.5, what="a share of the new revision")
        (row,) = place.read("status")
        log.info("pins while the node is away: %s", row["pinned"])
        pods = place.cluster.list(POD, selector=f"{PART_LABEL}={PIN_PART}")
        bound = {(pod["spec"]["nodeName"], pod["spec"]["containers"][0]["image"]) for pod in pods}
        assert (node, second_image) in bound
    began_s = time.monotonic()
    wait_until(lambda: node_ready(place, node), 180, pause_s=0.5, what="the node")
    wait_until(lambda: is_pinned(place, second_image), 180, pause_s=0.5, what="the second pin on every node")
    log.info("the node is pinned %.1f s after its link", time.monotonic() - began_s)
    place.eaves("promote", NAME)
    place.eaves("remove", NAME)
