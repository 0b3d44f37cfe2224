"""Encoding of events as one request over the link."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eaves.errors import EventError
from eaves.events import Event, encode_binary, is_json
from eaves.link.batch import MEDIA_TYPE, encode_event
from eaves.link.compression import ENCODING, GZIP_WINDOW, LEVEL

BINARY_FROM = 16_384
"""Minimum size of a single event's data, other than JSON, for binary mode, bytes. In a batch the data would be base64:
a third more bytes before gzip, several copies in memory, and time for gzip, which can't compress a JPEG."""
MAX_HEADERS, MAX_HEADER_BYTES = 40, 8_192
"""Maximum number of an event's attributes in binary mode, and of their bytes when percent-encoded. HTTP servers and
proxies accept about 100 headers and 8 KB of them. Source: nginx, large_client_header_buffers; Python, http.client,
`_MAXHEADERS`."""


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
    headers = {"Content-Type": MEDIA_TYPE, "Content-Encoding": ENCODING}
    return Packed(headers=headers, body=_compress_batch(events), events=len(events))


def _compress_batch(events: Sequence[Event]) -> bytes:
    """Return `compress(encode_batch(events))` without several copies of the whole batch in memory."""
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
