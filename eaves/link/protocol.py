"""What relay and receiver agree on: the routes, events as one request, and the receiver's answer."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eaves.base.strict_json import parse_json
from eaves.errors import DeliveryError, EventError
from eaves.event_batch import MEDIA_TYPE, encode_batch
from eaves.events import Event, encode_binary, is_json

# Routes of the receiver. All but `HEALTH` need a site's token or client certificate.

EVENTS = "/v1/events"
"""POST events: a batch, or one event in binary or structured mode. The answer is 200 with a `BatchAnswer`."""
PARTS = "/v1/parts/"
"""POST a part of a body to the SHA-256 of the whole body, in hexadecimal. The query has `offset`, the part's position,
and `size`, the size of the whole body in bytes. The answer is 200 with `{"received": N}`: the receiver has N bytes from
the beginning, and the next part begins there. An empty part asks for this number."""
UPLOAD = "Eaves-Upload"
"""Header of a request to `EVENTS` whose body was sent in parts before; its value is the SHA-256 of the body. The answer
is 412 when the receiver doesn't have the body."""
SITE = "/v1/site"
"""GET `{"site": NAME}`, the site that the receiver identifies the caller as. A success shows that the connection and
the token work."""
LEDGER = "/v1/ledger"
"""GET the ledger's lines about the caller's site; the query has `after`, the number of a line, and `limit`."""
HEADS = "/v1/heads/"
"""GET the head that `eaves federate collect` has merged for the model of this name. Its `ETag` is its SHA-256; the
answer is 304 to an `If-None-Match` with it, and 404 when there is no head yet."""
FUNCTIONS = "/v1/functions/"
"""POST an image to the function of this name in the cloud; the answer is its prediction."""
HEALTH = "/health"
"""GET 200 while the receiver works."""

BINARY_FROM = 16_384
"""Minimum size of a single event's data, other than JSON, for binary mode, bytes. In a batch the data would be base64:
a third more bytes before gzip, several copies in memory, and time for gzip, which can't compress a JPEG."""
MAX_HEADERS, MAX_HEADER_BYTES = 40, 8_192
"""Maximum number of an event's attributes in binary mode, and of their bytes when percent-encoded. HTTP servers and
proxies accept about 100 headers and 8 KB of them. Source: nginx, large_client_header_buffers; Python, http.client,
`_MAXHEADERS`."""
LEVEL, GZIP_WINDOW = 6, 31
"""zlib's level, and its window for gzip. Source: zlib's manual, inflateInit2: 15 bits, and 16 for a gzip header."""
NO_ANSWER, HINT = "the answer can't be used", "check that the address is the address of a receiver"
MAX_DETAIL = 300
"""Maximum length of a reason, characters."""


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
    packing = zlib.compressobj(LEVEL, wbits=GZIP_WINDOW)
    compressed = bytearray()  # piece by piece, without several copies of the whole batch in memory
    for piece in encode_batch(events):
        compressed += packing.compress(piece)
    compressed += packing.flush()
    headers = {"Content-Type": MEDIA_TYPE, "Content-Encoding": "gzip"}
    return Packed(headers=headers, body=bytes(compressed), events=len(events))


def _suits_binary(event: Event) -> bool:
    if len(event.data) < BINARY_FROM or is_json(event.datacontenttype):
        return False
    attributes = event.attributes()
    size = sum(len(name) + 3 * len(value.encode(errors="replace")) for name, value in attributes.items())
    return len(attributes) <= MAX_HEADERS and size <= MAX_HEADER_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedEvent:
    """An event of a batch that the receiver refuses for good.

    Attributes:
        index: Position of the event in the batch, from 0.
        status: HTTP status that the event would have got alone: 400 for one that is not well-formed, 403 for another
            site's, 409 when another event of the same source and id was received before, 413 for one that is too large.
        detail: Reason, for people.
    """

    index: int
    status: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchAnswer:
    """Result of a batch, sent as JSON. Every event that isn't refused is on the receiver's disk.

    Attributes:
        stored: Number of new events.
        repeated: Number of events that were received before and are not stored again.
        refused: Events that were refused.
    """

    stored: int
    repeated: int
    refused: tuple[RefusedEvent, ...] = ()


def parse_batch_answer(body: bytes, sent: int) -> BatchAnswer:
    """Parse the answer to a batch of `sent` events.

    Raises:
        DeliveryError: When the answer doesn't have a result for each event, for example because a proxy or a login page
            answered 200 and stored nothing.
    """
    try:
        values: Mapping[str, Any] = parse_json(body)
        refused = tuple(
            RefusedEvent(
                index=_to_count(one["index"]), status=_to_count(one["status"]), detail=str(one["detail"])[:MAX_DETAIL]
            )
            for one in values["refused"]
        )
        stored, repeated = _to_count(values["stored"]), _to_count(values["repeated"])
        answer = BatchAnswer(stored=stored, repeated=repeated, refused=refused)
    except (ValueError, KeyError, TypeError) as error:
        raise DeliveryError(f"{NO_ANSWER}: it doesn't have the form of a receiver's answer", hint=HINT) from error
    indices = {one.index for one in answer.refused} & set(range(sent))
    counts = (answer.stored, answer.repeated, len(indices))
    if len(indices) < len(answer.refused) or sum(counts) != sent:
        raise DeliveryError(f"{NO_ANSWER}: it accounts for {sum(counts)} of the {sent} events sent", hint=HINT)
    return answer


def _to_count(value: Any) -> int:
    """Return a number of an answer; a ValueError when it is none."""
    if type(value) is not int or value < 0:
        raise ValueError(f"not a number: {str(value)[:64]}")
    return value
