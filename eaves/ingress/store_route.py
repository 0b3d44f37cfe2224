"""The CloudEvents in a request, and the route that stores them before it answers, as publisher and relay do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from eaves.delivery.response_rules import ACCEPTED
from eaves.errors import EventError, MalformedRequestError, UnsupportedContentError
from eaves.event_batch import MEDIA_TYPE, decode_batch
from eaves.events import BATCH, STRUCTURED, Event, decode, is_event
from eaves.ingress.request import Request, Response, answer_problem

PATH = "/"
STORED = Response(status=ACCEPTED)
"""Response for stored events, without a reply."""
_parsing = threading.Lock()
"""Lock for parsing JSON, which takes several times the text's size in memory: a process parses one text at a time."""


class StoreRoute:
    """Answers POST / with 202 once the events are stored. A batch is stored as a whole or refused as a whole.

    Args:
        store: Stores events on disk, all or none. An error that it raises becomes the response, by its `http_status`.
        max_bytes: Maximum size of a body, bytes.
        batches: Whether a request may contain many events.
        path: Path of the route, in place of `/`.
    """

    def __init__(
        self, store: Callable[[Sequence[Event]], object], *, max_bytes: int, batches: bool = True, path: str = PATH
    ) -> None:
        self._path = path
        self._store = store
        self._max_bytes = max_bytes
        self._batches = batches

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        if request.method != "POST":
            detail = "only POST with a CloudEvent is supported"
            return answer_problem(405, detail, Allow="POST")
        if request.path != self._path:
            return answer_problem(404, f"no such endpoint: {request.path[:128]}; post to {self._path}")
        request.admit()
        if is_batch(request) and not self._batches:
            raise UnsupportedContentError("batches of CloudEvents are not supported", hint="send one event per request")
        found = read_events(request, self._max_bytes)
        for index, event in enumerate(found):
            if isinstance(event, EventError):
                raise EventError(f"event {index} of the batch: {event.message}", hint=event.hint)
        self._store([event for event in found if isinstance(event, Event)])
        return STORED


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
        UnsupportedContentError: For a content type that isn't supported.
        MalformedRequestError: When the request is no CloudEvent, or damaged.
        EventError: When the body contains no event, or the only one is not well-formed.
        ImageTooLargeError: When the body is larger than allowed.
        BatchTooLargeError: When it contains more events than allowed.
        OverloadedError: When no memory is available now.
    """
    if not is_batch(request):
        body, headers = request.read_body(max_bytes), request.header_fields()
        if not is_event(headers):
            raise MalformedRequestError("the request is no CloudEvent: it has no ce-specversion")
        with _parsing:
            return [decode(headers, body)]
    media_type = _content_type(request).partition(";")[0].strip()
    if media_type != MEDIA_TYPE:
        raise UnsupportedContentError(f"a batch of CloudEvents must be {MEDIA_TYPE} (got {media_type[:64]!r})")
    body = request.read_body(max_bytes)
    with _parsing:
        return decode_batch(body)


def _content_type(request: Request) -> str:
    return str(request.headers.get("content-type", "")).strip().lower()
