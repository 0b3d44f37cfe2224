"""The CloudEvents of a request, in any mode."""

from __future__ import annotations

import threading

from eaves.errors import EventError, UnsupportedContentError
from eaves.events import BATCH, Event, decode
from eaves.ingress.request import Request
from eaves.link import decode_batch
from eaves.link.batch import MEDIA_TYPE

_parsing = threading.Lock()
"""A JSON text takes several times its size while it is parsed: one text of a process at a time."""


def is_batch(request: Request) -> bool:
    """Whether the request says that it holds many events. Source: CloudEvents, HTTP protocol binding, section 3."""
    return str(request.headers.get("content-type", "")).strip().lower().startswith(BATCH)


def read_events(request: Request, max_bytes: int) -> list[Event | EventError]:
    """The events of a request in order; in place of one of a batch that is not well-formed, what is wrong with it.

    Args:
        request: A request whose body isn't read yet.
        max_bytes: Largest body.

    Raises:
        UnsupportedContentError: For a content type or coding that isn't taken.
        EventError: When the body holds no event, or the only one is not well-formed.
        ImageTooLargeError: When it is larger than allowed.
        OverloadedError: When there is no memory for it now.
    """
    if not is_batch(request):
        body = request.read_body(max_bytes)
        with _parsing:
            return [decode(request.header_fields(), body)]
    media_type = str(request.headers["content-type"]).partition(";")[0].strip().lower()
    if media_type != MEDIA_TYPE:
        raise UnsupportedContentError(f"a batch of CloudEvents must be {MEDIA_TYPE} (got {media_type[:64]!r})")
    body = request.read_body(max_bytes)
    with _parsing:
        return decode_batch(body)
