"""The link to the registry is down and the node's kubelet starts again: functions still come up from zero."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from eaves.events import Event
from eaves.platform import FunctionSpec, ScaleSettings, default_trigger
from knative.platform import KnativePlatform
from knative.resources.function import build_pin
from knative.settings import ClusterApp, KnativeSettings, SiteSettings
from tests.e2e.conftest import PutImage
from tests.e2e.harness import MANAGER
from tests.e2e.outages import is_pinned, lists_image
from tests.e2e.places import NAME, SITE, Place
from tests.e2e.stream import ask_version
from tests.inputs.artifacts import copy_artifact
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(900)
CANT_FETCH = "can't pull the container image"


@pytest.fixture
def third_image(put_image: PutImage, tiny_artifact: Path, tmp_path: Path) -> str:
    """A container image that no node has."""
    return put_image(copy_artifact(tiny_artifact, tmp_path / "third", version=f"3-{secrets.token_hex(3)}"))


def test_with_the_registry_gone_and_kubelets_restarted_what_is_pinned_starts_from_zero_and_nothing_else_does(
    place: Place, make_event: Callable[..., Event], registry_down: Callable[[], AbstractContextManager[None]],
    image: str, second_image: str, third_image: str, version: str,
) -> None:  # fmt: skip
    site = SiteSettings(name=SITE, namespace=place.cluster.namespace)

    def app(container: str, *, pin: bool = True) -> ClusterApp:
        function = FunctionSpec(name=NAME, site=SITE, scale=ScaleSettings(idle_s=6), concurrency=1)
        triggers, knative = (default_trigger(NAME),), KnativeSettings(pin=pin)
        return ClusterApp(function=function, triggers=triggers, image=container, knative=knative, site=site)

    def ask(subject: str) -> str:
        return ask_version(place.platform, NAME, make_event(subject))

    place.platform.deploy(app(image))
    place.platform.promote(NAME)
    assert ask("before.png") == version
    wait_until(lambda: is_pinned(place, image), 60, pause_s=0.5, what="the pin")
    wait_until(lambda: place.status().state == "idle", 180, pause_s=0.5, what="zero replicas")
    wait_until(lambda: lists_image(place, image), 120, pause_s=1, what="the container image at the node")
    with registry_down():
        assert ask("cut-off.png") == version
    # The new one's container image comes to the node by the pin alone: no replica of it ever ran.
    place.cluster.apply(build_pin(app(second_image)), manager=MANAGER, force=True)
    wait_until(lambda: is_pinned(place, second_image), 120, pause_s=0.5, what="the pin of the new one")
    with registry_down():
        place.platform.deploy(app(second_image))
        place.platform.promote(NAME)
        wait_until(lambda: ask("new.png") == "2", 60, pause_s=0.5, what="the new version")
        KnativePlatform(place.cluster, KnativeSettings(pin=False), site).deploy(app(third_image, pin=False))
        wait_until(lambda: CANT_FETCH in place.status().reason, 120, pause_s=1, what="why the third doesn't start")
        assert ask("still.png") == "2"
