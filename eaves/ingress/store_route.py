"""Route of publisher and relay: POST / with events, which are in a durable queue before the response is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from eaves.delivery.response_rules import ACCEPTED
from eaves.errors import EventError, UnsupportedContentError
from eaves.events import Event
from eaves.ingress.content import is_batch, read_events
from eaves.ingress.request import Request
from eaves.ingress.response import Response, answer_problem

PATH = "/"
STORED = Response(status=ACCEPTED)
"""Response for stored events, without a reply."""


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
