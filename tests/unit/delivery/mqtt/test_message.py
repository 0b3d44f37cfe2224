"""Events as MQTT messages.

Source: CloudEvents 1.0.2, bindings/mqtt-protocol-binding.md, sections 3.1.3 and 3.2.3 (examples).
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from eaves.delivery.mqtt.message import build_cloudevent, build_json
from eaves.errors import EventError
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, Event, decode

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


def test_binary_mode_has_the_data_as_payload_and_attributes_as_user_properties() -> None:
    message = build_cloudevent(PREDICTION, "t", version5=True, retain=True)

    assert (message.topic, message.payload, message.retain) == ("t", PREDICTION.data, True)
    assert message.content_type == "application/json"
    assert dict(message.user_properties) == {
        "id": "a1",
        "source": "/eaves/home/flowers",
        "type": IMAGE_CLASSIFIED,
        "specversion": "1.0",
        "subject": "gate/1.jpg",
        "time": "2026-11-25T12:00:00Z",
        "label": "rose",
        "confidence": "high",
        "partitionkey": "gate",
    }


@pytest.mark.parametrize("event", [PREDICTION, IMAGE])
def test_a_broker_of_version_3_gets_the_whole_event_as_json(event: Event) -> None:
    message = build_cloudevent(event, "t", version5=False, retain=False)

    read = decode({"content-type": "application/cloudevents+json"}, message.payload)
    assert replace(read, data=b"") == replace(event, data=b"")
    assert read.data == event.data or read.json() == event.json()
    assert (message.content_type, message.user_properties) == ("", ())


@pytest.mark.parametrize("version5", [True, False])
def test_plain_json_has_the_events_own_facts_beside_its_data(version5: bool) -> None:
    message = build_json(PREDICTION, "t", version5=version5, retain=False)

    assert json.loads(message.payload) == {
        "predictions": [{"label": "rose", "score": 0.97}],
        "model": "flowers",
        "id": "kept",
        "camera": "gate",
        "subject": "gate/1.jpg",
        "time": "2026-11-25T12:00:00Z",
        "label": "rose",
        "confidence": "high",
    }
    assert message.content_type == ("application/json" if version5 else "")
    assert not message.user_properties


@pytest.mark.parametrize("text", ["\ud800", "x" * 70_000])
def test_text_that_mqtt_cannot_carry_is_the_events_fault(text: str) -> None:
    with pytest.raises(EventError, match="attribute label of event 'a1'"):
        build_cloudevent(PREDICTION.with_extensions(label=text), "t", version5=True, retain=False)


def test_numbers_that_json_cannot_hold_make_no_message() -> None:
    event = replace(PREDICTION, data=b'{"predictions": [{"label": "rose", "score": 1e999}]}')
    with pytest.raises(EventError, match="a1"):
        build_json(event, "t", version5=True, retain=False)
