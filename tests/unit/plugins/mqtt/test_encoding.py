"""Events as MQTT messages.

Source: CloudEvents 1.0.2, bindings/mqtt-protocol-binding.md, sections 3.1.3 and 3.2.3 (examples).
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from eaves.errors import EventError
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, Event
from eaves.plugins.mqtt.encoding import build_cloudevent, build_json

PREDICTION = Event(
    id="a1",
    source="/eaves/home/flowers",
    type=IMAGE_CLASSIFIED,
    subject="gate/1.jpg",
    time="2026-11-25T12:00:00Z",
    datacontenttype="application/json",
    data=b'{"predictions": [{"label": "rose", "score": 0.97}], "model": "flowers", "id": "kept"}',
    extensions={"label": "rose", "confidence": "high", "partitionkey": "gate"},
)
IMAGE = Event(id="a2", source="/eaves/home/gate", type=IMAGE_CAPTURED, datacontenttype="image/png", data=b"\x89PNG")


@pytest.mark.parametrize("text", ["\ud800", "x" * 70_000])
def test_text_that_mqtt_cannot_carry_is_the_events_fault(text: str) -> None:
    with pytest.raises(EventError, match="attribute label of event 'a1'"):
        build_cloudevent(PREDICTION.with_extensions(label=text), "t", version5=True, retain=False)


def test_numbers_that_json_cannot_hold_make_no_message() -> None:
    event = replace(PREDICTION, data=b'{"predictions": [{"label": "rose", "score": 1e999}]}')
    with pytest.raises(EventError, match="a1"):
        build_json(event, "t", version5=True, retain=False)
