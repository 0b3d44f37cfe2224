"""Routes of the receiver, which authenticates the caller before it reads a body."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

from eaves.errors import (
    BatchTooLargeError,
    EavesError,
    EventError,
    ImageTooLargeError,
    OverloadedError,
    UnsupportedContentError,
)
from eaves.events import Event, decode
from eaves.ingress import Request, Response, answer_error, answer_json, answer_problem
from eaves.ingress.body import BrokenOffError
from eaves.ingress.store_route import is_batch, is_structured, read_events
from eaves.link import BatchAnswer
from eaves.link.paths import EVENTS, FUNCTIONS, HEALTH, LEDGER, PARTS, SITE, UPLOAD
from eaves.receiver.counters import MALFORMED, OVERLOADED, OVERSIZED, UNAUTHORISED, SiteCounters
from eaves.receiver.functions import FunctionProxy
from eaves.receiver.intake import ReceiverIntake
from eaves.receiver.ledger_route import answer_ledger
from eaves.receiver.sites import Sites
from eaves.receiver.uploads import Uploads
from eaves.spool import Spool

GET, POST = ("GET", "HEAD"), ("POST",)
RETRY_S = "2"
"""Value of Retry-After in an answer with 429 or 503, seconds."""

Route = Callable[[str, Request], Response]


class ReceiverRoutes:
    """Answers the requests that sites send to the receiver, after it has authenticated the site.

    Args:
        sites: Sites that may send.
        spool: Spool that stores the events.
        uploads: Bodies that arrive in parts.
        functions: Proxy for functions.
        counters: Counters to update for each event and refusal.
        max_bytes: Maximum size of a body, bytes.
        is_well: Function that returns whether every part of the process works.
    """

    def __init__(
        self,
        sites: Sites,
        spool: Spool,
        uploads: Uploads,
        functions: FunctionProxy,
        counters: SiteCounters,
        *,
        max_bytes: int,
        is_well: Callable[[], bool] = lambda: True,
    ) -> None:
        self._sites = sites
        self._spool = spool
        self._uploads = uploads
        self._functions = functions
        self._counters = counters
        self._intake = ReceiverIntake(spool, counters, lambda: len(sites.names()) > 1)
        self._max_bytes = max_bytes
        self._is_well = is_well
        self._routes: Mapping[str, tuple[tuple[str, ...], Route]] = {
            EVENTS: (POST, self._take_events),
            SITE: (GET, lambda site, _: answer_json({"site": site})),
            LEDGER: (GET, lambda site, request: answer_ledger(self._spool, site, request.query)),
        }

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        self._uploads.expire()
        if request.path == HEALTH:
            return self._answer_health(request)
        authorization = ", ".join(request.headers.get_all("authorization", []))
        site = self._sites.identify(authorization, request.caller.names)
        if not site:
            self._counters.refuse(
                "", UNAUTHORISED, f"no valid token or certificate of a site, from {request.caller.address}"
            )
            hint = (
                "send a token of the site in the header Authorization: Bearer TOKEN, or use "
                "a client certificate that names the site"
            )
            return answer_problem(
                401, "the request doesn't identify a site of this receiver", hint, WWW_Authenticate="Bearer"
            )
        self._counters.meet(site)
        request.admit(site)
        try:
            return self._answer(site, request)
        except EavesError as error:
            later = {"Retry_After": RETRY_S} if error.http_status in (429, 503) else {}
            return answer_error(error, **later)

    def _answer(self, site: str, request: Request) -> Response:
        methods, route = self._routes.get(request.path, ((), None))
        if request.path.startswith(PARTS):
            methods, route = POST, self._take_part
        if request.path.startswith(FUNCTIONS):
            methods, route = POST, self._ask_function
        if route is None:
            return answer_problem(404, f"no such endpoint: {request.path[:128]}", f"send events with POST to {EVENTS}")
        if request.method not in methods:
            allowed = ", ".join(methods)
            return answer_problem(405, f"{request.path[:128]} accepts only {allowed}", Allow=allowed)
        try:
            return route(site, request)
        except (ImageTooLargeError, BatchTooLargeError) as error:
            self._counters.refuse(site, OVERSIZED, error.message)
            raise
        except OverloadedError as error:
            self._counters.refuse(site, OVERLOADED, error.message)
            raise
        except BrokenOffError:  # the link was cut, or the relay sends something else first
            raise
        except EventError as error:
            self._counters.refuse(site, MALFORMED, error.message)
            raise

    def _take_events(self, site: str, request: Request) -> Response:
        if UPLOAD in request.headers:
            return self._take_uploaded(site, request.headers[UPLOAD], request)
        answer = self._intake.store_events(site, read_events(request, self._max_bytes))
        if answer.refused and not is_batch(request):
            return answer_problem(answer.refused[0].status, answer.refused[0].detail)
        return _answer_batch(answer)

    def _take_uploaded(self, site: str, digest: str, request: Request) -> Response:
        """Store an event whose data arrived in parts and whose attributes are the headers of this request.

        The answer accounts for the event as for a batch, even when the event is refused. So the relay learns whether
        this receiver or something on the way refuses the event, without sending all of it again.
        """
        if is_structured(request):
            raise UnsupportedContentError("an upload must be the data of one event in binary mode")
        with self._uploads.one_event(site):
            request.reserve_memory(self._uploads.size(site, digest))
            body = self._uploads.read(site, digest)
            if body is None:
                return answer_problem(
                    412, f"the upload of the body {digest[:16]} is not complete", "send the body again"
                )
            answer = self._intake.store_events(site, [_decode_uploaded(request, body)])
            self._uploads.finish(site, digest)
        return _answer_batch(answer)

    def _take_part(self, site: str, request: Request) -> Response:
        query = dict(parse_qsl(request.query))
        digest = request.path.removeprefix(PARTS)
        part = request.read_body(self._max_bytes)
        received = self._uploads.append(site, digest, part, offset=query.get("offset", ""), size=query.get("size", ""))
        return answer_json({"received": received})

    def _ask_function(self, site: str, request: Request) -> Response:
        return self._functions.answer(site, request.path.removeprefix(FUNCTIONS), request)

    def _answer_health(self, request: Request) -> Response:
        if request.method not in GET:
            return answer_problem(405, f"{HEALTH} accepts only GET and HEAD", Allow="GET, HEAD")
        is_well = self._is_well()
        return answer_json({"status": "ok" if is_well else "unwell"}, 200 if is_well else 503)


def _decode_uploaded(request: Request, body: bytes) -> Event | EventError:
    try:
        return decode(request.header_fields(), body)
    except EventError as error:
        return error


def _answer_batch(answer: BatchAnswer) -> Response:
    return Response(status=200, headers={"Content-Type": "application/json"}, body=answer.to_json())
