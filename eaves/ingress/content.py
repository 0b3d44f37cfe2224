"""Parsing of the CloudEvents in a request, in any mode."""

from __future__ import annotations

import threading

from eaves.errors import EventError, UnsupportedContentError
from eaves.events import BATCH, STRUCTURED, Event, decode
from eaves.ingress.request import Request
from eaves.link import decode_batch
from eaves.link.batch import MEDIA_TYPE, check_values

_parsing = threading.Lock()
"""Lock for parsing JSON, which takes several times the text's size in memory: a process parses one text at a time."""


def is_batch(request: Request) -> bool:
    """Return whether the request contains many events. Source: CloudEvents, HTTP protocol binding, section 3."""
    return _content_type(request).startswith(BATCH)


def is_structured(request: Request) -> bool:
    """Return whether the body contains an event's attributes, or those of many events."""
    return _content_type(request).startswith(STRUCTURED)


def read_events(request: Request, max_bytes: int) -> list[Event | EventError]:
    """Return the events of a request, in order; one of a batch that is not well-formed is replaced by its error.

    Args:
        request: Request whose body isn't read yet.
        max_bytes: Maximum size of the body, bytes.

    Raises:
        UnsupportedContentError: For a content type or coding that isn't supported.
        EventError: When the body contains no event, or the only one is not well-formed.
        ImageTooLargeError: When the body is larger, or contains more events, than allowed.
        OverloadedError: When no memory is available now.
    """
    if not is_batch(request):
        body = request.read_body(max_bytes)
        if is_structured(request):
            check_values(body)
        with _parsing:
            return [decode(request.header_fields(), body)]
    media_type = _content_type(request).partition(";")[0].strip()
    if media_type != MEDIA_TYPE:
        raise UnsupportedContentError(f"a batch of CloudEvents must be {MEDIA_TYPE} (got {media_type[:64]!r})")
    body = request.read_body(max_bytes)
    with _parsing:
        return decode_batch(body)


def _content_type(request: Request) -> str:
    return str(request.headers.get("content-type", "")).strip().lower()
