"""Names in triggers that no event has are reported before anything is published to a wrong topic."""

from __future__ import annotations

from typing import Any

import pytest

from eaves.cli.app.event_attributes import find_attribute_warnings
from eaves.config import SettingsLayer, build
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, IMAGE_EMBEDDED
from eaves.platform import TriggerSpec


def warnings(**values: Any) -> list[str]:
    trigger = build(TriggerSpec, SettingsLayer(origin="eaves.yaml", values={"name": "hub", **values}))
    return list(find_attribute_warnings(trigger, "eaves.yaml: triggers[0]"))


@pytest.mark.parametrize(
    ("topic", "near"),
    [("plant/{camera}/{label}", "partitionkey"), ("plant/{lable}", "label"), ("plant/{version}", "modelversion")],
)
def test_a_topic_names_an_attribute_that_no_prediction_has(topic: str, near: str) -> None:
    (reported,) = warnings(url=f"mqtt://hub/{topic}", filter={"type": IMAGE_CLASSIFIED})

    assert reported.startswith("eaves.yaml: triggers[0].url: ")
    assert ": a prediction has no attribute " in reported
    assert reported.endswith(f"; did you mean {near}?")


@pytest.mark.parametrize(
    ("filtered", "path", "message"),
    [
        ({"typ": IMAGE_CLASSIFIED}, "filter.typ", "an event of Eaves has no attribute typ; did you mean type?"),
        (
            {"type": IMAGE_CLASSIFIED, "confidense": "high"},
            "filter.confidense",
            "a prediction has no attribute confidense; did you mean confidence?",
        ),
        (
            {"type": "dev.eaves.image.clasified.v1"},
            "filter.type",
            f"no event has the type dev.eaves.image.clasified.v1; did you mean {IMAGE_CLASSIFIED}?",
        ),
        (
            {"type": IMAGE_CAPTURED, "modelversion": "3"},
            "filter.modelversion",
            "a captured image has no attribute modelversion; known here: id, source, type, ",
        ),
    ],
)
def test_a_filter_names_what_no_event_has(filtered: dict[str, str], path: str, message: str) -> None:
    (reported,) = warnings(url="http://hub/", filter=filtered)

    assert reported.startswith(f"eaves.yaml: triggers[0].{path}: {message}")


@pytest.mark.parametrize(
    "values",
    [
        {
            "url": "mqtt://hub/{partitionkey}/{label}/{confidence}/{model}/{subject}",
            "filter": {"type": IMAGE_CLASSIFIED},
        },
        {"url": "mqtt://hub/{partitionkey}/{crop}/{senderid}", "filter": {"type": IMAGE_CAPTURED}},
        {"url": "mqtt://hub/{model}", "filter": {"type": IMAGE_EMBEDDED}},
        {"url": "mqtt://hub/{label}"},
        {"url": "mqtt://hub/{wheel}", "filter": {"type": "com.example.turned", "wheel": "left"}},
        {"url": "http://hub/{camera}", "filter": {"knativearrivaltime": "x"}},
    ],
)
def test_what_events_have_is_not_warned_of(values: dict[str, Any]) -> None:
    assert warnings(**values) == []
