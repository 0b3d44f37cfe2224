"""A snapshot URL at a site: what a camera shows becomes predictions at a subscriber."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from knative.client.cluster import Cluster
from tests.contract.sinks import subjects
from tests.e2e.harness import KnativeSink
from tests.e2e.places import NAME, Place
from tests.e2e.pods import is_bound, make_config_map, make_secret, start_server
from tests.e2e.sources.test_volumes import configure, pictures
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(600)
CAMERA = "camera"
PASSWORD = "4711-gate"


def start_camera(cluster: Cluster, images: Mapping[str, bytes], image: str) -> None:
    """Serve files at http://CAMERA/."""
    volumes = {"pictures": make_config_map(cluster, CAMERA, images)}
    command = ["python", "-I", "-m", "http.server", "8080", "--directory", "/pictures"]
    start_server(cluster, CAMERA, image, command, {80: 8080}, volumes=volumes)


def test_what_a_camera_shows_is_predicted(
    place: Place, outside: KnativeSink, image: str, agent_image: str, tiny_artifact: Path
):
    make_secret(place.cluster, "login", {"username": "eaves", "password": PASSWORD})
    source = {"name": "gate", "kind": "http", "url": f"http://{CAMERA}/snap-{{password}}.png", "secret": "login"}
    configure(place, outside, {**source, "every_s": 1}, agent_image=agent_image)
    place.deploy(image)
    wait_until(lambda: is_bound(place.cluster, f"{NAME}-gate-0"), 180, pause_s=0.5, what="the pod whose log is read")
    start_camera(place.cluster, pictures(tiny_artifact, f"snap-{PASSWORD}.png"), image)
    wait_until(lambda: outside.received, 180, pause_s=0.5, what="its prediction")
    assert {event.extensions["causesource"] for event in outside.received} == {"/eaves/test/gate"}
    assert subjects(outside) == {"gate"}
    log = place.eaves("logs", f"{NAME}.gate").stdout
    assert "captured" in log
    for shown in (log, place.eaves("status", "-o", "json").stdout, str(outside.received)):
        assert PASSWORD not in shown
    place.eaves("remove", NAME)
