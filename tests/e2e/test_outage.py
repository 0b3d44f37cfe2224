"""The link to the registry is down and the node's kubelet starts again: functions still come up from zero."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from eaves.errors import OciError
from eaves.events import Event
from eaves.oci.places import open_place
from eaves.oci.registry import Access
from eaves.platform import AppSpec, FunctionSpec, ScaleSettings, default_trigger
from knative.kinds import DAEMON_SET, NODE, POD
from knative.platform import KnativePlatform
from knative.resources.pin import build_pin
from knative.settings import KnativeSettings, SiteSettings
from tests.e2e.conftest import PutImage, copy_as
from tests.e2e.harness import MANAGER
from tests.e2e.places import NAME, SITE, Place
from tests.e2e.stream import ask_version
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(900)
MOST_LISTED = 50
"""Container images of a node that it lists, the largest. Source: kubelet, nodeStatusMaxImages."""


@pytest.fixture
def registry_down(pytestconfig: pytest.Config, place: Place, image: str) -> Callable[[], AbstractContextManager[None]]:
    """For the time of a `with`, no registry, and kubelets that have forgotten what they knew."""
    names = ("stop-registry", "start-registry", "restart-kubelet")
    stop, start, restart = (str(pytestconfig.getoption(f"--{name}") or "") for name in names)
    if not (stop and start and restart):
        pytest.skip("needs --stop-registry, --start-registry and --restart-kubelet, commands that do so")

    def run(command: str) -> None:
        subprocess.run(command, shell=True, check=True, timeout=300, capture_output=True)

    @contextmanager
    def down() -> Iterator[None]:
        run(stop)
        try:
            with pytest.raises(OciError):
                open_place(image, Access(plain_http=True)).resolve()
            run(restart)
            wait_until(lambda: nodes_ready(place), 120, pause_s=0.5, what="the nodes")
            yield
        finally:
            run(start)

    return down


@pytest.fixture
def third_image(put_image: PutImage, tiny_artifact: Path, tmp_path: Path) -> str:
    """A container image that no node has."""
    return put_image(copy_as(tiny_artifact, tmp_path / "third", version=f"3-{secrets.token_hex(3)}"))


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


def test_with_the_registry_gone_and_kubelets_restarted_what_is_pinned_starts_from_zero_and_nothing_else_does(
    place: Place, make_event: Callable[..., Event], registry_down: Callable[[], AbstractContextManager[None]],
    image: str, second_image: str, third_image: str, version: str,
) -> None:  # fmt: skip
    site = SiteSettings(name=SITE, namespace=place.cluster.namespace)

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
    wait_until(lambda: place.status().state == "idle", 180, pause_s=0.5, what="zero replicas")
    wait_until(lambda: lists_image(place, image), 120, pause_s=1, what="the container image at the node")
    with registry_down():
        assert ask("cut-off.png") == version
    # The new one's container image comes to the node by the pin alone: no replica of it ever ran.
    place.cluster.apply(build_pin(app(second_image), KnativeSettings(), site), manager=MANAGER, force=True)
    wait_until(lambda: pins(place, second_image), 120, pause_s=0.5, what="the pin of the new one")
    with registry_down():
        place.platform.deploy(app(second_image))
        place.platform.promote(NAME)
        wait_until(lambda: ask("new.png") == "2", 60, pause_s=0.5, what="the new version")
        KnativePlatform(place.cluster, KnativeSettings(pin=False), site).deploy(app(third_image))
        wait_until(lambda: "registry" in place.status().reason, 120, pause_s=1, what="why the third doesn't start")
        assert ask("still.png") == "2"
