"""Topic filters."""

from __future__ import annotations

import pytest

from eaves.plugins.mqtt.message import find_filter_fault
from eaves.plugins.mqtt.source import matches


@pytest.mark.parametrize("text", ["a", "/", "+", "#", "a/+/b/#", "+/+", "$share/g/a/#", "a b/ä"])
def test_good_filters(text: str) -> None:
    assert find_filter_fault(text) == ""


@pytest.mark.parametrize("text", ["", "a\0", "a#", "#/a", "a+", "$share/a", "$share//a", "$share/+/a", "x" * 65_536])
def test_bad_filters(text: str) -> None:
    assert "must" in find_filter_fault(text)


def test_which_topics_match() -> None:
    assert matches(["x", "$share/group/cameras/+/image"], "cameras/3/image")
    assert not matches(["x", "cameras/+/image"], "cameras/3/4/image")
    assert not matches(["#"], "$SYS/broker")
