"""docs/events-out.md: its examples are settings without faults, and they match what the page says."""

import re
from pathlib import Path
from typing import Any

import pytest

from eaves.config import SettingsLayer, build
from eaves.config.yaml_text import load_yaml
from eaves.events import IMAGE_CLASSIFIED
from eaves.platform import TriggerSpec
from eaves.platform.triggers import DIALECTS, matches_all
from knative.resources.eventing import build_filters

PAGE = (Path(__file__).parents[2] / "docs/events-out.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)


def read_triggers() -> list[TriggerSpec]:
    """Every trigger of the page, those of single `filter` lines too."""
    values: list[dict[str, Any]] = []
    for block in BLOCKS:
        if block.startswith("triggers:"):
            values += load_yaml(block)["triggers"]
        elif block.startswith("filter:"):
            values += [{"name": "line", **load_yaml(line)} for line in block.splitlines()]
    return [build(TriggerSpec, SettingsLayer(origin="page", values=one)) for one in values]


def test_the_page_shows_every_dialect():
    assert [name for name in DIALECTS if f"`{name}: " not in PAGE] == []
    assert len(read_triggers()) == 7


@pytest.mark.parametrize(
    ("label", "subject", "wanted"),
    [
        ("red rose", "yard north/1.png", True),
        ("Gänseblümchen", "yard south/a b.png", True),
        ("red rose", "yard south/1.test.png", False),
        ("tulip", "yard north/1.png", False),
    ],
)
def test_the_long_example_matches_what_its_comment_says(label: str, subject: str, wanted: bool):
    trigger = next(one for one in read_triggers() if one.filters)
    attributes = {"type": IMAGE_CLASSIFIED, "label": label, "subject": subject}
    assert matches_all(attributes, trigger.filter, trigger.filters) is wanted


def test_what_the_page_says_of_knative_is_what_is_rendered():
    trigger = next(one for one in read_triggers() if one.filters)
    (shown,) = [load_yaml(block) for block in BLOCKS if block.startswith("- any:")]
    assert shown[0] in build_filters(trigger)["filters"][1]["any"]
    plain = TriggerSpec(name="plain", filter={"confidence": "high"})
    assert build_filters(plain) == {"filter": {"attributes": {"confidence": "high"}}}
    empty = TriggerSpec(name="empty", filter={"label": "", "subject": "a b"})
    assert {"cesql": "EXISTS label"} in build_filters(empty)["filters"]
