"""CloudEvents in a batch: many events as one JSON array. Source: CloudEvents, JSON event format, section 4."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from typing import Any

from eaves.base.strict_json import MAX_JSON_VALUES, parse_json
from eaves.errors import BatchTooLargeError, EventError
from eaves.events import BATCH, Event, decode_fields, is_json
from eaves.spool.entry import render_attributes

MEDIA_TYPE = f"{BATCH}+json"
MAX_EVENTS = 2_000
"""Maximum number of events in one batch. A relay sends fewer; each refused event takes time and a line of the
answer, and an event can be as short as two bytes of JSON."""


def encode_batch(events: Iterable[Event]) -> Iterator[bytes]:
    """Encode events as a JSON array, and yield it in pieces. `decode_batch` returns the same bytes of data.

    JSON data is embedded as a JSON value when decoding it gives the same bytes; this compresses better than base64.
    """
    before = b"["
    for event in events:
        yield before + encode_event(event)
        before = b", "
    yield b"]" if before == b", " else b"[]"


def encode_event(event: Event) -> bytes:
    """Encode one event for a batch."""
    attributes = event.attributes()
    if not event.data:
        return render_attributes(attributes).encode()
    attributes.pop("data", None)  # no event that was received has it; a duplicate name would make the batch invalid
    fields = render_attributes(attributes).encode()[:-1]
    if _is_lossless_as_json(event):
        return fields + b', "data": ' + event.data + b"}"
    return fields + b', "data_base64": "' + base64.b64encode(event.data) + b'"}'


def decode_batch(body: bytes) -> list[Event | EventError]:
    """Decode the events of a body, in order; an event that is not well-formed is replaced by its error.

    Raises:
        EventError: When the body is not a JSON array.
        BatchTooLargeError: When the body holds more than `MAX_EVENTS` events.
    """
    try:
        listed = parse_json(body)
    except ValueError as error:
        raise EventError(f"the body is not JSON: {str(error)[:200]}") from error
    if not isinstance(listed, list):
        raise EventError(f"a batch of CloudEvents must be a JSON array, not a {type(listed).__name__}")
    if len(listed) > MAX_EVENTS:
        message = f"a batch may contain at most {MAX_EVENTS} events (got {len(listed)})"
        raise BatchTooLargeError(message, hint="send smaller batches")
    return [_decode(fields) for fields in listed]


def _decode(fields: Any) -> Event | EventError:
    try:
        return decode_fields(fields)
    except EventError as error:
        # A new error, because the raised one keeps the stack and with it the data that the event was decoded from.
        return EventError(error.message, hint=error.hint)


def _is_lossless_as_json(event: Event) -> bool:
    """Return whether decoding gives the same bytes when the event's data is embedded as a JSON value."""
    if not (is_json(event.datacontenttype) and event.data.isascii()):
        return False
    try:
        # Texts that `parse_json` refuses don't come back either: of two members with the same name, one would be lost.
        value = json.loads(event.data.decode()) if len(event.data) <= MAX_JSON_VALUES else parse_json(event.data)
        return value is not None and json.dumps(value, allow_nan=False).encode() == event.data
    except (ValueError, RecursionError):
        return False
