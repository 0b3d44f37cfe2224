"""The link to the registry is down and the node's kubelet starts again: functions still come up from zero."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from eaves.events import Event
from eaves.platform import AppSpec, FunctionSpec, ScaleSettings, default_trigger
from knative.kinds import DAEMON_SET, NODE, POD
from knative.resources.pin import build_pin
from knative.settings import KnativeSettings, SiteSettings
from tests.e2e.harness import MANAGER
from tests.e2e.places import NAME, SITE, Place
from tests.e2e.stream import ask_version
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(900)
MOST_LISTED = 50
"""Container images of a node that it lists, the largest. Source: kubelet, nodeStatusMaxImages."""


@pytest.fixture
def registry_down(pytestconfig: pytest.Config) -> Callable[[], Any]:
    """For the time of a `with`, no registry, and kubelets that have forgotten what they knew."""
    stop, start, restart = (
        str(pytestconfig.getoption(f"--{name}") or "")
        for name in ("stop-registry", "start-registry", "restart-kubelet")
    )
    if not (stop and start and restart):
        pytest.skip("needs --stop-registry, --start-registry and --restart-kubelet, commands that do so")

    @contextmanager
    def down() -> Iterator[None]:
        subprocess.run(stop, shell=True, check=True, timeout=120, capture_output=True)
        try:
            subprocess.run(restart, shell=True, check=True, timeout=300, capture_output=True)
            yield
        finally:
            subprocess.run(start, shell=True, check=True, timeout=120, capture_output=True)

    return down


def nodes_ready(place: Place) -> bool:
    """Whether every node's kubelet answers."""
    return all(
        any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"]["conditions"])
        for node in place.cluster.list(NODE)
    )


def lists_image(place: Place, image: str) -> bool:
    """Whether every node has a container image; those it doesn't list for want of room count as there."""
    digest = image.rpartition("@")[2]
    lists = [node["status"].get("images") or [] for node in place.cluster.list(NODE)]
    return all(
        len(images) >= MOST_LISTED or any(name.endswith(digest) for one in images for name in one["names"])
        for images in lists
    )


def pins(place: Place, image: str) -> bool:
    """Whether the pin's pods all run that container image."""
    (pin,) = place.cluster.list(DAEMON_SET)
    pods = place.cluster.list(POD, selector="app.kubernetes.io/component=pin")
    running = [
        status["imageID"].endswith(image.rpartition("@")[2])
        for pod in pods
        for status in pod["status"].get("containerStatuses", ())
        if "running" in status["state"]
    ]
    return bool(running) and all(running) and len(running) == pin["status"]["desiredNumberScheduled"]


def test_with_the_registry_gone_and_kubelets_restarted_functions_start_from_zero_old_and_new(
    place: Place, make_event: Callable[..., Event], registry_down: Callable[[], Any], image: str, second_image: str,
    version: str,
) -> None:  # fmt: skip
    def app(container: str) -> AppSpec:
        scale = ScaleSettings(idle_s=6)
        function = FunctionSpec(
            name=NAME, site=SITE, artifact=place.folder, image=container, scale=scale, concurrency=1
        )
        return AppSpec(function=function, triggers=(default_trigger(NAME),))

    def ask(subject: str) -> str:
        return ask_version(place.platform, NAME, make_event(subject))

    place.platform.deploy(app(image))
    place.platform.promote(NAME)
    assert ask("before.png") == version
    wait_until(lambda: pins(place, image), 60, pause_s=0.5, what="the pin")
    site = SiteSettings(name=SITE, namespace=place.cluster.namespace)
    wait_until(lambda: place.status().state == "idle", 180, pause_s=0.5, what="zero replicas")
    wait_until(lambda: lists_image(place, image), 120, pause_s=1, what="the container image at the node")
    with registry_down():
        wait_until(lambda: nodes_ready(place), 120, pause_s=0.5, what="the nodes")
        assert ask("cut-off.png") == version
    # The new one's container image is at the node by the pin alone: no replica of it ever ran.
    place.cluster.apply(build_pin(app(second_image), KnativeSettings(), site), manager=MANAGER, force=True)
    wait_until(lambda: pins(place, second_image), 120, pause_s=0.5, what="the pin of the new one")
    with registry_down():
        wait_until(lambda: nodes_ready(place), 120, pause_s=0.5, what="the nodes")
        place.platform.deploy(app(second_image))
        place.platform.promote(NAME)
        wait_until(lambda: ask("new.png") == "2", 60, pause_s=0.5, what="the new version")
