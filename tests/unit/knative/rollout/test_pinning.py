"""How far a container image is pinned, by the status of its DaemonSet; and how pins are named."""

from __future__ import annotations

from typing import Any

import pytest

from knative.resources.pin import build_pin, is_pin_name, pin_name
from knative.rollout.pinning import PinStatus, parse_pin
from knative.settings import KnativeSettings, SiteSettings
from tests.cluster.apps import IMAGE, plain_app

READY = {"desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberReady": 3, "observedGeneration": 1}


def read(**status: int) -> PinStatus:
    pin: dict[str, Any] = build_pin(plain_app(), KnativeSettings(), SiteSettings(name="barn"))
    pin["metadata"]["generation"] = 1
    return parse_pin({**pin, "status": {**READY, **status}}, IMAGE)


def test_it_is_pinned_when_its_pod_is_ready_on_every_node_that_is_to_have_it() -> None:
    assert read().complete
    assert read(desiredNumberScheduled=0, updatedNumberScheduled=0, numberReady=0).complete
    assert read().render() == "pinned on 3 of 3 nodes"


@pytest.mark.parametrize(
    "status",
    [
        {"numberReady": 2},
        {"updatedNumberScheduled": 2},
        {"observedGeneration": 0},
    ],
    ids=["a node has yet to pull it", "a node has the pod of an earlier template", "not taken up yet"],
)
def test_it_is_not_pinned_before(status: dict[str, int]) -> None:
    assert not read(**status).complete


def test_a_pin_that_was_just_made_has_no_status_and_is_not_ready() -> None:
    pin = build_pin(plain_app(), KnativeSettings(), SiteSettings(name="barn"))
    pin["metadata"]["generation"] = 1
    assert not parse_pin(pin, IMAGE).complete


def test_a_pin_of_another_container_image_counts_for_nothing() -> None:
    pin = build_pin(plain_app(), KnativeSettings(), SiteSettings(name="barn"))
    status = parse_pin({**pin, "status": READY}, IMAGE.replace("b", "c"))
    assert not status.complete
    assert "has another container image" in status.render()


def test_a_name_tells_the_container_image_and_the_nodes() -> None:
    plain = pin_name("flowers", IMAGE, {})
    shelf = pin_name("flowers", IMAGE, {"shelf": "1", "edge": "yes"})
    assert plain == "flowers-pin-bbbbbbbb"
    assert shelf.startswith(f"{plain}-")
    assert shelf == pin_name("flowers", IMAGE, {"edge": "yes", "shelf": "1"})
    assert shelf != pin_name("flowers", IMAGE, {"shelf": "2", "edge": "yes"})
    assert len(pin_name("a" * 40, IMAGE, {"edge": "yes"})) <= 58, "a pod's name adds five characters, and has 63"


def test_names_of_pins_are_distinguished_from_others() -> None:
    assert is_pin_name("flowers", pin_name("flowers", IMAGE, {}))
    assert is_pin_name("flowers", pin_name("flowers", IMAGE, {"edge": "yes"}))
    assert not is_pin_name("flowers", "flowers-pin-camera")
    assert not is_pin_name("flowers", "flowers-barn-camera")
    assert not is_pin_name("flower", "flowers-pin")
