"""A relay at a site and a receiver in another namespace, over a link that is cut for minutes while pods are killed.

`--relay-events 500 --relay-cut-s 60` is the short form.
"""

import logging
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eaves.admin.report import LinkReport
from knative.client.kinds import CLAIM, NETWORK_POLICY, SERVICE, STATEFUL_SET
from knative.resources.metadata import APP_LABEL
from knative.status.site_status import Kubectl
from tests.container_images.packaging import need
from tests.e2e.conftest import open_project
from tests.e2e.link import Cloud, kill_pod, start_cloud
from tests.e2e.places import NAME, SITE, Namespaces, Place
from tests.e2e.pods import pod_phase, start_pod
from tests.e2e.sources.test_volumes import pictures
from tests.e2e.volumes import claimed, make_claim, put_files
from tests.waiting import wait_until

log = logging.getLogger(__name__)
pytestmark = pytest.mark.timeout(7200)
SECRET, CLAIM_NAME, CAMERA = "link", "photos", "camera"
SEEDS = 3
"""Images that the camera copies. They are in the folder too, so the agent captures them as well."""
PER_S = 5.0
"""Images a second, about what one replica and three durable queues on one node take."""
KILL_EVERY_S = 45.0
SEED = 15
SHOOT = """
import os, shutil, sys, time
count, pause_s = int(sys.argv[1]), float(sys.argv[2])
for number in range(count):
    source = f'/photos/seed/{number % 3}.png'
    shutil.copyfile(source, f'/photos/.{number}')
    os.rename(f'/photos/.{number}', f'/photos/{number:05d}.png')
    time.sleep(pause_s)
"""
"""A camera: images appear whole, one after the other."""


@pytest.fixture
def cloud(namespaces: Namespaces, agent_image: str, tmp_path: Path) -> Iterator[Cloud]:
    """A receiver with a link before it, in a namespace of their own."""
    need("kubectl")
    cluster = namespaces.open("cloud")
    yield start_cloud(
        cluster, site=SITE, image=agent_image, folder=tmp_path / "cloud", kubeconfig=namespaces.kubeconfig
    )
    namespaces.close(cluster.namespace)


@pytest.fixture
def project(namespaces: Namespaces, tmp_path: Path) -> Iterator[Place]:
    """The site."""
    folder = tmp_path / "site"
    folder.mkdir()
    made = open_project(namespaces, folder)
    yield made
    namespaces.close(made.cluster.namespace)


def configure(place: Place, agent_image: str, cloud: Cloud | None = None, **relay: Any) -> None:
    """A folder of images, a function, and with a cloud a relay."""
    place.configure(
        sources=[{"name": "inbox", "claim": CLAIM_NAME, "spool_size": "200Mi"}],
        knative={"agent_image": agent_image},
        **({"relay": {"to": cloud.url, "secret": SECRET, "spool_size": "500Mi", **relay}} if cloud else {}),
    )


def link_of(place: Place) -> LinkReport | None:
    """How the site's status says that the link is; None while its relay can't be asked."""
    agents = place.status().agents
    return next((agent.link for agent in agents if agent.name == f"{NAME}.relay"), None)


def shoot(place: Place, image: str, count: int) -> None:
    """Start a camera that takes so many images."""
    command = ["python", "-I", "-c", SHOOT, str(count), str(1 / PER_S)]
    start_pod(place.cluster, CAMERA, image, command, volumes={"photos": claimed(CLAIM_NAME)})


def has_ended(place: Place) -> bool:
    phase = pod_phase(place.cluster, CAMERA)
    assert phase != "Failed", "the camera has failed; kubectl logs camera says why"
    return phase == "Succeeded"


def audit(place: Place, cloud: Cloud, folder: Path) -> dict[str, Any]:
    """The totals of `eaves relay audit`: the relay's ledger in its pod against what the receiver has written down."""
    received = folder / "received.jsonl"
    cloud.write_ledger(received)
    words = ("relay", "audit", "--on", "knative", "--received", str(received))
    found: dict[str, Any] = place.read(*words, codes=(0, 1, 3))["totals"]
    return found


def has_backlog(place: Place, at_least: int) -> bool:
    """Whether so many events wait at the site."""
    link = link_of(place)
    return link is not None and link.backlog_events >= at_least


def is_drained(place: Place) -> bool:
    """Whether the link is up and nothing waits for it."""
    link = link_of(place)
    return link is not None and link.up and link.backlog_events == 0


def test_every_prediction_reaches_the_cloud_once_although_pods_are_killed_and_the_link_is_cut(
    project: Place, cloud: Cloud, image: str, agent_image: str, tiny_artifact: Path, tmp_path: Path,
    pytestconfig: pytest.Config,
):  # fmt: skip
    count, cut_s = int(pytestconfig.getoption("--relay-events")), float(pytestconfig.getoption("--relay-cut-s"))
    kubectl = Kubectl(kubeconfig=project.kubeconfig)
    make_claim(project.cluster, CLAIM_NAME)
    put_files(
        project.cluster, claimed(CLAIM_NAME), pictures(tiny_artifact, *(f"seed/{n}.png" for n in range(SEEDS))), image
    )
    cloud.make_secret(project.cluster, SECRET)
    configure(project, agent_image, cloud)
    project.deploy(image)
    wait_until(project.delivers, 180, pause_s=0.5, what="the Broker and its Triggers")
    wait_until(lambda: (link := link_of(project)) is not None and link.up, 180, pause_s=1, what="the link")

    shoot(project, image, count)
    wait_until(lambda: (link := link_of(project)) is not None and link.forwarded > 0, 180, pause_s=1, what="an event")
    chosen = random.Random(SEED)
    cloud.link("silence" if chosen.random() < 0.5 else "cut")
    cut_at, next_kill = time.monotonic(), time.monotonic() + KILL_EVERY_S
    kills, restored = 0, False

    def is_done() -> bool:
        nonlocal next_kill, kills, restored
        now = time.monotonic()
        if not restored and now - cut_at >= cut_s:
            cloud.link("restore")
            restored = True
        if now >= next_kill:
            next_kill = now + KILL_EVERY_S
            kills += 1
            if kills % 2:
                kill_pod(kubectl, project.cluster, f"{NAME}-relay-0")
            else:
                cloud.kill()
        return restored and has_ended(project)

    wait_until(is_done, cut_s + 3 * count / PER_S + 600, pause_s=2, what="the end of the cut and of the camera")
    assert kills >= 2 or cut_s < 2 * KILL_EVERY_S

    def is_empty() -> bool:
        return is_drained(project) and not any(agent.queued != 0 for agent in project.status().agents)

    wait_until(is_empty, 900, pause_s=2, what="empty queues")
    wait_until(cloud.is_ready, 120, pause_s=1, what="the receiver")
    total = audit(project, cloud, tmp_path)
    log.info("audit: %d images, %d kills, cut for %g s: %s", count, kills, cut_s, total)
    assert (total["missing"], total["unknown"], total["waiting"], total["dead"]) == (0, 0, 0, 0)
    assert total["sent"] == total["received"] == count + SEEDS


def test_a_relay_comes_to_a_site_and_goes_and_what_it_held_is_delivered_when_it_is_back(
    project: Place, cloud: Cloud, image: str, agent_image: str, tiny_artifact: Path, tmp_path: Path
):
    make_claim(project.cluster, CLAIM_NAME)
    cloud.make_secret(project.cluster, SECRET)
    configure(project, agent_image)
    project.deploy(image)
    wait_until(project.delivers, 180, pause_s=0.5, what="the Broker and its Triggers")
    put_files(project.cluster, claimed(CLAIM_NAME), pictures(tiny_artifact, "before.png"), image)

    cloud.link("cut")
    configure(project, agent_image, cloud, images="all")
    project.deploy(image)
    wait_until(lambda: link_of(project) is not None, 180, pause_s=1, what="the relay")
    put_files(project.cluster, claimed(CLAIM_NAME), pictures(tiny_artifact, "during.png"), image)
    wait_until(lambda: has_backlog(project, 2), 180, pause_s=1, what="a backlog")

    configure(project, agent_image)
    project.deploy(image)
    wait_until(lambda: link_of(project) is None, 120, pause_s=1, what="the relay's end")
    assert f"spool-{NAME}-relay-0" in {one["metadata"]["name"] for one in project.cluster.list(CLAIM)}

    cloud.link("restore")
    configure(project, agent_image, cloud, images="all")
    project.deploy(image)
    # Not by what was forwarded, which is counted from the process's start: Knative may replace the pod meanwhile.
    wait_until(lambda: is_drained(project), 240, pause_s=1, what="an empty backlog")
    total = audit(project, cloud, tmp_path)
    assert (total["missing"], total["unknown"], total["waiting"]) == (0, 0, 0)
    assert total["sent"] >= 2

    project.eaves("remove", NAME)
    ours, kinds = f"{APP_LABEL}={NAME}", (STATEFUL_SET, SERVICE, NETWORK_POLICY)
    wait_until(
        lambda: not [one for kind in kinds for one in project.cluster.list(kind, selector=ours)], 60, pause_s=1,
        what="the end of it",
    )  # fmt: skip
