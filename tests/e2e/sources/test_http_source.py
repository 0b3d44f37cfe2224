"""A snapshot URL at a site: what a camera shows becomes predictions at a subscriber."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

import pytest

from eaves.events import IMAGE_CLASSIFIED
from knative.client.cluster import Cluster
from knative.client.kinds import POD
from knative.resources.pod import build_security
from tests.contract.sinks import subjects
from tests.e2e.harness import MANAGER, KnativeSink, is_pod_ready
from tests.e2e.places import NAME, Place
from tests.e2e.sources.test_volumes import pictures
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(600)
CAMERA = "camera"
PASSWORD = "4711-gate"


def start_camera(cluster: Cluster, images: Mapping[str, bytes], image: str) -> str:
    """Serve files by HTTP from a pod; where from."""
    data = {name: base64.b64encode(content).decode() for name, content in images.items()}
    container = {
        "name": CAMERA,
        "image": image,
        "command": ["python", "-I", "-m", "http.server", "8080", "--directory", "/pictures"],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        "securityContext": build_security(),
        "volumeMounts": [{"name": "pictures", "mountPath": "/pictures"}],
    }
    pod = {
        "automountServiceAccountToken": False,
        "containers": [container],
        "terminationGracePeriodSeconds": 0,
        "volumes": [{"name": "pictures", "configMap": {"name": CAMERA}}],
    }
    labels = {"app": CAMERA}
    ports = [{"port": 80, "targetPort": 8080}]
    for manifest in (
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CAMERA}, "binaryData": data},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": CAMERA, "labels": labels}, "spec": pod},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": CAMERA},
            "spec": {"selector": labels, "ports": ports},
        },
    ):
        cluster.apply(manifest, manager=MANAGER)
    wait_until(lambda: is_pod_ready(cluster.get(POD, CAMERA)), 120, pause_s=0.5, what="the camera")
    return f"http://{CAMERA}.{cluster.namespace}.svc.cluster.local"


def test_what_a_camera_shows_is_predicted(
    place: Place, outside: KnativeSink, image: str, agent_image: str, tiny_artifact: Path
) -> None:
    url = start_camera(place.cluster, pictures(tiny_artifact, f"snap-{PASSWORD}.png"), image)
    login = {"username": "eaves", "password": PASSWORD}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "stringData": login}
    place.cluster.apply(secret, manager=MANAGER)
    source = {
        "name": "gate", "kind": "http", "url": f"{url}/snap-{{password}}.png", "every_s": 1, "secret": "login",
        "spool_size": "100Mi",
    }  # fmt: skip
    triggers = [{"name": "out", "filter": {"type": IMAGE_CLASSIFIED}, "url": outside.url}]
    place.configure(sources=[source], triggers=triggers, knative={"agent_image": agent_image})
    place.eaves("deploy", image, "--plain-http")
    wait_until(lambda: outside.received, 180, pause_s=0.5, what="its prediction")
    assert {event.extensions["causesource"] for event in outside.received} == {"/eaves/test/gate"}
    assert subjects(outside) == {"gate"}
    log = place.eaves("logs", f"{NAME}.gate").stdout
    assert "captured" in log
    for shown in (log, place.eaves("status", "-o", "json").stdout, str(outside.received)):
        assert PASSWORD not in shown
    place.eaves("remove", NAME)
