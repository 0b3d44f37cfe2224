"""A message > image, sender's id, time."""

import base64
import json
from typing import Any

import pytest

from eaves.plugins.mqtt.kind import MqttSourceSettings
from eaves.plugins.mqtt.message import Message
from eaves.plugins.mqtt.payload import UnusableError, read_message

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
IN_BASE64 = base64.b64encode(PNG).decode()
EVENT = {"id": "7", "source": "/gate", "type": "com.example.photo", "specversion": "1.0"}


def settings(**values: Any) -> MqttSourceSettings:
    return MqttSourceSettings(url="mqtt://h", topics=("a",), **values)


def message(payload: bytes, *, content_type: str = "", properties: tuple[tuple[str, str], ...] = ()) -> Message:
    return Message(topic="a", payload=payload, content_type=content_type, user_properties=properties)


def in_json(value: Any) -> Message:
    return message(json.dumps(value).encode())


def test_an_image():
    found = read_message(message(PNG), settings())
    assert (found.data, found.position, found.extensions) == (PNG, "", {})


@pytest.mark.parametrize(
    "text", [IN_BASE64, f"data:image/png;base64,{IN_BASE64}", IN_BASE64[:76] + "\r\n" + IN_BASE64[76:]]
)
def test_base64_in_json(text: str):
    sent = in_json({"image": {"data/x": [text]}, "seq": 12})
    found = read_message(sent, settings(image_at="/image/data~1x/0", id_at="/seq"))
    assert (found.data, found.position, found.extensions) == (PNG, "12", {"senderid": "12"})


@pytest.mark.parametrize(("value", "sender_id"), [("x", "x"), (7, "7"), (True, ""), ({}, "")])
def test_only_texts_and_integers_are_ids(value: Any, sender_id: str):
    assert (
        read_message(in_json({"i": IN_BASE64, "id": value}), settings(image_at="/i", id_at="/id")).position == sender_id
    )


def test_an_id_that_no_attribute_can_hold_identifies_all_the_same():
    found = read_message(in_json({"i": IN_BASE64, "id": "a\nb"}), settings(image_at="/i", id_at="/id"))
    assert (found.position, found.extensions) == ("a\nb", {})


@pytest.mark.parametrize(
    ("value", "captured_at_ns"),
    [
        ("2026-11-25T21:00:00.5+01:00", 1_795_636_800_500_000_000),
        (1_795_636_800.25, 1_795_636_800_250_000_000),
        ("1795636800", 1_795_636_800_000_000_000),
        (1_795_636_800_250, 1_795_636_800_250_000_000),
        ("yesterday", None),
        (True, None),
        (-5, None),
        (10**400, None),
        ("nan", None),
    ],
)
def test_a_time_is_a_timestamp_or_counts_from_1970(value: Any, captured_at_ns: int | None):
    sent = in_json({"i": IN_BASE64, "t": value})
    assert read_message(sent, settings(image_at="/i", time_at="/t")).captured_at_ns == captured_at_ns


def test_the_time_of_a_cloudevent_goes_before_others():
    event = {**EVENT, "time": "2026-11-25T20:00:00Z", "datacontenttype": "application/json"}
    event["data"] = {"i": IN_BASE64, "t": 5}  # type: ignore[assignment]
    found = read_message(in_json(event), settings(image_at="/i", time_at="/t"))
    assert found.captured_at_ns == 1_795_636_800_000_000_000
    del event["time"]
    assert read_message(in_json(event), settings(image_at="/i", time_at="/t")).captured_at_ns == 5_000_000_000


def test_a_cloudevent_in_binary_mode():
    properties = (*EVENT.items(), ("time", "2026-11-25T20:00:00.123456Z"), ("station", "ä 3"), ("Own-Name", "x"))
    found = read_message(message(PNG, content_type="image/png", properties=properties), settings())
    assert (found.data, found.content_type, found.position) == (PNG, "image/png", "/gate\x007")
    assert found.extensions == {"senderid": "7", "sendersource": "/gate"}
    assert found.captured_at_ns == 1_795_636_800_123_456_000


def test_a_cloudevent_whose_data_is_json_with_an_image():
    event = {**EVENT, "datacontenttype": "application/json", "data": {"image": IN_BASE64, "id": "other"}}
    found = read_message(in_json(event), settings(image_at="/image", id_at="/id"))
    assert (found.data, found.position) == (PNG, "/gate\x007")


@pytest.mark.parametrize(
    ("sent", "values", "cause", "words"),
    [
        (in_json({**EVENT, "id": ""}), {}, "unreadable", "missing required attribute(s): id"),
        (in_json({**EVENT, "dataref": "http://x"}), {}, "unsupported", "a CloudEvent has no data"),
        (in_json({**EVENT, "type": "dev.eaves.image.classified.v1", "data": {}}), {}, "unsupported", ""),
        (message(b"[]", content_type="application/cloudevents-batch+json"), {}, "unsupported", "batches"),
        (in_json({"image": IN_BASE64}), {}, "unsupported", "a message is JSON, but image_at is not set"),
        (message(b"{1"), {"image_at": "/i"}, "unreadable", ""),
        (message(b"{}"), {"image_at": "/i"}, "unsupported", ""),
        (message(b'{"i": "%%"}'), {"image_at": "/i"}, "unreadable", ""),
        (message(b'{"i": "\\ud800"}'), {"image_at": "/i"}, "unreadable", ""),
    ],
)
def test_messages_that_are_not_taken(sent: Message, values: dict[str, str], cause: str, words: str):
    with pytest.raises(UnusableError) as caught:
        read_message(sent, settings(**values))
    assert caught.value.cause == cause
    assert words in str(caught.value)
