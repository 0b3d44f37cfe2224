"""What is rendered, as a real API server and its admission see it; and what is left of it after a removal."""

import logging
import secrets
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from eaves.events import IMAGE_CLASSIFIED, Event
from knative.client.cluster import Cluster, open_cluster
from knative.client.kinds import EVENT, NAMESPACE, POD
from knative.resources.agent import NODE_SPOOLS
from knative.resources.metadata import APP_LABEL
from tests.container_images.packaging import need
from tests.e2e.harness import KnativeSink
from tests.e2e.inventory import list_objects, wait_for_objects
from tests.e2e.places import NAME, Namespaces, Place
from tests.e2e.pods import make_secret
from tests.e2e.volumes import clear_node, make_claim, make_node_folder
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(600)
ANY_AGENT = "registry.example/agent@sha256:" + "c" * 64
SPOOLS = {
    f"PersistentVolumeClaim/spool-{NAME}-{agent}-0" for agent in ("inbox", "archive", "gate", "yard", "display-mqtt")
}
BROKER_OBJECTS = {"Broker/eaves", "InMemoryChannel/eaves-kne-trigger", "Service/eaves-kne-trigger-kn-channel"}
"""What stays for the apps of a namespace, which share the Broker."""
SECRET = "login"


def configure(place: Place, agents: str, agent_image: str, url: str, camera: str = "camera") -> None:
    """One of everything."""
    place.configure(
        sources=[
            {"name": "inbox", "claim": "photos", "spool_size": "100Mi"},
            {"name": camera, "agent": "node", "path": f"/var/tmp/{agents}"},
            {"name": "archive", "kind": "replay", "claim": "archive", "through": "broker"},
            {
                "name": "gate",
                "kind": "mqtt",
                "url": "mqtts://broker.invalid",
                "topics": ["gate/#"],
                "secret": SECRET,
                "spool_size": "100Mi",
            },
            {"name": "yard", "kind": "http", "url": "http://camera.invalid/snap.jpg", "spool_size": "100Mi"},
        ],
        triggers=[
            {
                "name": "alarm",
                "filter": {"type": IMAGE_CLASSIFIED, "confidence": "high"},
                "url": url,
                "delivery": {"dead_letter_sink": url},
            },
            {
                "name": "display",
                "filter": {"type": IMAGE_CLASSIFIED},
                "url": "mqtt://broker.invalid/{label}",
                "mqtt": {"secret": SECRET, "spool_size": "100Mi"},
            },
        ],
        function={"dataref_hosts": ["store.example"], "dataref_networks": ["10.1.0.0/16"]},
        knative={"agent_image": agent_image, "agent_namespace": agents},
    )


@pytest.fixture
def agents(namespaces: Namespaces) -> Cluster:
    """The agents' namespace, made beforehand: a dry run puts nothing into one that isn't there."""
    privileged = {"pod-security.kubernetes.io/enforce": "privileged"}
    return namespaces.open("agents", privileged)


@pytest.fixture
def rendered(place: Place, agents: Cluster, image: str) -> Path:
    """The files of an app with one of everything."""
    configure(place, agents.namespace, ANY_AGENT, "http://alarm.example/")
    place.eaves("render", image, "--plain-http", "--output", "rendered")
    return place.folder / "rendered"


def test_every_rendered_file_passes_a_servers_dry_run_without_a_warning(
    place: Place, rendered: Path, caplog: pytest.LogCaptureFixture
):
    files = sorted(rendered.glob("*.yaml"))
    kinds = set()
    with caplog.at_level(logging.INFO, "knative.client.transport"):
        for path in files:
            manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
            place.cluster.apply(manifest, manager="kubectl", dry_run=True)
            kinds.add(manifest["kind"])
    assert [record.message for record in caplog.records if record.name == "knative.client.transport"] == []
    assert kinds >= {"Service", "Broker", "Trigger", "EventType", "StatefulSet", "SinkBinding"}
    assert kinds >= {"DaemonSet", "Namespace", "ServiceAccount", "NetworkPolicy"}
    assert place.platform.status() == []


@pytest.mark.parametrize("how", [[], ["--server-side"]], ids=["client", "server"])
def test_kubectl_takes_every_rendered_file_without_a_warning(how: list[str], place: Place, rendered: Path):
    words = [need("kubectl"), "apply", "--dry-run=server", *how, "-f", str(rendered)]
    words += ["--kubeconfig", str(place.kubeconfig.absolute())] if place.kubeconfig else []
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    reported = [line for line in done.stderr.splitlines() if "last-applied-configuration" not in line]  # the tests' own
    assert (done.returncode, reported) == (0, [])
    assert len(done.stdout.splitlines()) == len(list(rendered.glob("*.yaml")))


def test_a_diff_asks_the_server_and_changes_nothing(place: Place, image: str):
    before = list_objects(place.cluster, place.cluster.namespace)
    assert "+++ service/" in place.eaves("diff", image, "--plain-http", codes=(1,)).stdout
    assert list_objects(place.cluster, place.cluster.namespace) == before


def refusals(cluster: Cluster) -> list[str]:
    """What Pod Security said of pods that weren't made."""
    reported = [str(one.get("message")) for one in cluster.list(EVENT)]
    return [text for text in reported if "violates PodSecurity" in text]


def test_every_pod_is_admitted_under_restricted_pod_security_and_a_removal_leaves_only_the_spool(
    namespaces: Namespaces, place: Place, outside: KnativeSink, make_event: Callable[..., Event], image: str,
    agent_image: str,
):  # fmt: skip
    name, camera = namespaces.name("agents"), f"camera-{secrets.token_hex(3)}"
    there = open_cluster(kubeconfig=namespaces.kubeconfig, namespace=name)
    for claim in ("photos", "archive"):
        make_claim(place.cluster, claim)
    make_secret(place.cluster, SECRET, {"username": "me"})
    before = list_objects(place.cluster, place.cluster.namespace)
    configure(place, name, agent_image, outside.url, camera)
    make_node_folder(there, f"/var/tmp/{name}", image)
    place.deploy(image)
    assert place.platform.invoke(NAME, make_event("there.png")).event is not None

    def running(cluster: Cluster) -> int:
        pods = cluster.list(POD, selector=f"{APP_LABEL}={NAME}")
        return len([one for one in pods if one["status"]["phase"] == "Running"])

    try:
        # the function, its pin, agents beside a volume, of an archive, of a broker and of a camera, and the publisher
        wait_until(lambda: running(place.cluster) >= 7, 180, pause_s=0.5, what="seven kinds of pods")
        wait_until(lambda: running(there) == 1, 180, pause_s=0.5, what="the agent of the node")
        assert refusals(place.cluster) + refusals(there) == []
        place.eaves("remove", NAME)
        wait_for_objects(place.cluster, before | SPOOLS | BROKER_OBJECTS)
        wait_until(lambda: not there.list(POD), 120, pause_s=0.5, what="no pod of an agent at the node")
        left = {one.partition("/")[0] for one in list_objects(there, name)}
        assert left <= {"ConfigMap", "ServiceAccount", "Secret"}, left  # Kubernetes' own
    finally:
        clear_node(there, "/var/tmp", [name], image)
        clear_node(there, NODE_SPOOLS, [place.cluster.namespace], image)
        there.delete(NAMESPACE, name)
