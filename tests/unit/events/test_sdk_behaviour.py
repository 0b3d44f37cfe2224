"""Behaviour of the SDK because of which Eaves reads and writes messages itself; see `eaves.cloudevents_sdk`.

A test that fails says that an SDK is here which does one of these better, and that code of ours can go.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

BINARY = {"ce-id": "1", "ce-specversion": "1.0", "ce-source": "/a", "ce-type": "t"}
STRUCTURED = {"content-type": "application/cloudevents+json"}
FIELDS = '"id": "1", "specversion": "1.0", "source": "/a", "type": "t"'


def read(headers: dict[str, str], body: bytes) -> Any:
    """The SDK's event of a message."""
    return from_http_event(HTTPMessage(headers, body))


def test_the_sdk_invents_an_id_and_a_time() -> None:
    headers = {name: value for name, value in BINARY.items() if name != "ce-id"}
    one, other = (read(headers, b"") for _ in range(2))
    assert one.get_id() != other.get_id()
    assert one.get_time() is not None


def test_the_sdk_makes_text_of_what_is_not() -> None:
    assert read({**BINARY, "content-type": "image/png"}, b"plain").get_data() == "plain"
    assert read({**BINARY, "content-type": "application/json"}, b"{").get_data() == "{"


def test_the_sdk_takes_json_that_receivers_read_differently() -> None:
    assert read(STRUCTURED, f'{{{FIELDS}, "id": "2"}}'.encode()).get_id() == "2"
    assert json.dumps(read(STRUCTURED, f'{{{FIELDS}, "data": NaN}}'.encode()).get_data()) == "NaN"


@pytest.mark.parametrize(
    ("headers", "body", "error"),
    [
        ({**BINARY, "ce-time": "x"}, b"", ValueError),
        (STRUCTURED, b"[", json.JSONDecodeError),
        ({"content-type": "application/cloudevents-batch+json"}, b"[]", AttributeError),
    ],
)
def test_the_sdk_raises_errors_of_many_kinds(headers: dict[str, str], body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        read(headers, body)
    assert caught.type is error


def test_the_sdk_cuts_times_and_writes_json_in_base64() -> None:
    event = read({**BINARY, "ce-time": "2026-01-01T00:00:00.123456789Z"}, b"")
    assert event.get_time().microsecond == 123456
    attributes = {"id": "1", "source": "/a", "type": "t", "specversion": "1.0", "datacontenttype": "application/json"}
    assert b"data_base64" in to_structured_event(CloudEvent(attributes, b"{}")).body
