"""Encoding of events as one request over the link: many in one body, or a single large image as it is.

Source: CloudEvents, JSON event format, section 4, JSON Batch Format.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eaves.base.strict_json import MAX_JSON_VALUES, parse_json
from eaves.errors import BatchTooLargeError, EventError
from eaves.events import Event, decode_fields, encode_binary, is_json
from eaves.spool.entry import render_attributes

MEDIA_TYPE = "application/cloudevents-batch+json"
MAX_EVENTS = 2_000
"""Maximum number of events in one batch. A relay sends fewer; each refused event takes time and a line of the
answer, and an event can be as short as two bytes of JSON."""
MAX_VALUES = 1_000_000
"""Maximum number of values in one JSON text; each takes up to 250 bytes of memory while it is parsed and can be as
short as two bytes."""
BINARY_FROM = 16_384
"""Minimum size of a single event's data, other than JSON, for binary mode, bytes. In a batch the data would be base64:
a third more bytes before gzip, several copies in memory, and time for gzip, which can't compress a JPEG."""
MAX_HEADERS, MAX_HEADER_BYTES = 40, 8_192
"""Maximum number of an event's attributes in binary mode, and of their bytes when percent-encoded. HTTP servers and
proxies accept about 100 headers and 8 KB of them. Source: nginx, large_client_header_buffers; Python, http.client,
`_MAXHEADERS`."""

LEVEL, GZIP_WINDOW = 6, 31
"""zlib's level, and its window for gzip. Source: zlib's manual, inflateInit2: 15 bits, and 16 for a gzip header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Headers and body of a request.

    Attributes:
        headers: Headers of the request, without the caller's credentials.
        body: Bytes that are sent.
        events: Number of events in the request.
        is_batch: Whether the body is a batch, whose answer has a result for each event; an image in binary mode gets
            only a status.
    """

    headers: Mapping[str, str]
    body: bytes
    events: int
    is_batch: bool = True


def pack(events: Sequence[Event], *, as_batch: bool = False) -> Packed:
    """Pack events as one request: a batch with gzip, or a single large image in binary mode.

    Args:
        events: Events to send.
        as_batch: Whether to make a batch in any case.
    """
    if len(events) == 1 and not as_batch and _suits_binary(events[0]):
        try:
            headers, body = encode_binary(events[0])
            return Packed(headers=headers, body=body, events=1, is_batch=False)
        except EventError:
            pass  # an attribute doesn't fit into a header; JSON takes it
    headers = {"Content-Type": MEDIA_TYPE, "Content-Encoding": "gzip"}
    return Packed(headers=headers, body=_compress_batch(events), events=len(events))


def _compress_batch(events: Sequence[Event]) -> bytes:
    """Return `encode_batch(events)` in gzip, without several copies of the whole batch in memory."""
    packing = zlib.compressobj(LEVEL, wbits=GZIP_WINDOW)
    parts = bytearray(packing.compress(b"["))
    for number, event in enumerate(events):
        parts += packing.compress((b", " if number else b"") + encode_event(event))
    parts += packing.compress(b"]")
    parts += packing.flush()
    return bytes(parts)


def _suits_binary(event: Event) -> bool:
    if len(event.data) < BINARY_FROM or is_json(event.datacontenttype):
        return False
    attributes = event.attributes()
    size = sum(len(name) + 3 * len(value.encode(errors="replace")) for name, value in attributes.items())
    return len(attributes) <= MAX_HEADERS and size <= MAX_HEADER_BYTES


def encode_batch(events: Iterable[Event]) -> bytes:
    """Encode events as a JSON array. `decode_batch` returns the same bytes of data.

    JSON data is embedded as a JSON value when decoding it gives the same bytes; this compresses better than base64.
    """
    return b"[" + b", ".join(encode_event(event) for event in events) + b"]"


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
        BatchTooLargeError: When the body holds more than `MAX_EVENTS` events or `MAX_VALUES` values.
    """
    check_values(body)
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


def check_values(text: bytes) -> None:
    """Refuse a JSON text with so many values that it would take many times its size in memory when parsed.

    Commas and brackets in strings count as values too.

    Raises:
        BatchTooLargeError: When the text holds more than `MAX_VALUES` values.
    """
    if len(text) > MAX_VALUES and text.count(b",") + text.count(b"[") + text.count(b"{") > MAX_VALUES:
        raise BatchTooLargeError(f"the JSON text contains more than {MAX_VALUES} values", hint="send smaller batches")


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
