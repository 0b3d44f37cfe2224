"""Proxy for functions in the cloud, used by agents that send each image to such a function (`through: cloud`)."""

from __future__ import annotations

from collections.abc import Mapping

from eaves.delivery import SinkClient
from eaves.errors import DeliveryError, EventError, ForbiddenError, NotFoundError, UnsupportedContentError
from eaves.events import Event, encode_binary
from eaves.http_client.client import HttpAnswer
from eaves.ingress import MemoryBudget, Request, Response
from eaves.ingress.store_route import is_batch, read_events
from eaves.receiver.counters import FAILED, FORGED, PREDICTED, SiteCounters
from eaves.receiver.intake import find_forgery

PASSED_ON = ("content-type", "retry-after")
"""Headers of a function's answer that are passed on to the caller, in addition to those of a CloudEvent."""


class FunctionProxy:
    """Forwards images to functions in the cloud and returns their answers with the same statuses. Stores nothing.

    An agent sends an event again when it gets no answer.

    Args:
        urls: Address of each function by name.
        client: HTTP client for the functions.
        counters: Counters to update for each event.
        max_bytes: Maximum size of a request body, bytes.
        timeout_s: Time limit for a function's answer, seconds.
        in_flight_bytes: Maximum total size of the images that wait for predictions at the same time, bytes. They have a
            budget of their own, because they wait for long and must not keep out events meanwhile.
    """

    def __init__(
        self, urls: Mapping[str, str], client: SinkClient, counters: SiteCounters, *, max_bytes: int, timeout_s: float,
        in_flight_bytes: int,
    ) -> None:  # fmt: skip
        self._urls = urls
        self._client = client
        self._counters = counters
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._budget = MemoryBudget(in_flight_bytes, largest=max_bytes)

    def answer(self, site: str, name: str, request: Request) -> Response:
        """Answer one event with a function's prediction.

        Raises:
            NotFoundError: When there is no function of that name.
            ForbiddenError: When the event's source is not this site's.
            DeliveryError: When the function doesn't answer.
        """
        url = self._urls.get(name)
        if url is None:
            known = f"available functions: {', '.join(self._urls)}" if self._urls else "the receiver has no functions"
            raise NotFoundError(f"there is no function {name[:64]!r}", hint=known)
        if is_batch(request):
            raise UnsupportedContentError("batches of CloudEvents are not supported", hint="send one image per request")
        request.admit(site, self._budget)
        (event,) = read_events(request, self._max_bytes)
        if isinstance(event, EventError):
            raise event
        if fault := find_forgery(site, event):
            self._counters.refuse(site, FORGED, fault)
            raise ForbiddenError(fault)
        answer = self._ask(site, name, url, event)
        self._counters.add(site, PREDICTED if answer.status < 300 else FAILED)
        headers = {key: value for key, value in answer.headers.items() if key in PASSED_ON or key.startswith("ce-")}
        return Response(status=answer.status, headers=headers, body=answer.body)

    def _ask(self, site: str, name: str, url: str, event: Event) -> HttpAnswer:
        headers, body = encode_binary(event)
        headers["Prefer"] = "reply"
        try:
            return self._client.request("POST", url, headers=headers, body=body, timeout_s=self._timeout_s)
        except DeliveryError as error:
            self._counters.refuse(site, FAILED, error.message)
            # The caller isn't given the function's address, which is internal to the cloud.
            raise DeliveryError(f"the function {name} doesn't answer", hint="see the log of the receiver") from error
