"""Requests of sites to the receiver: the caller is authenticated before the body is read; its events are stored."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from urllib.parse import parse_qsl

from eaves.base.disk_errors import disk_errors
from eaves.delivery import SinkClient
from eaves.errors import (
    BatchTooLargeError,
    DeliveryError,
    EavesError,
    EventError,
    ForbiddenError,
    ImageTooLargeError,
    InputError,
    MalformedRequestError,
    NotFoundError,
    OverloadedError,
    SpoolError,
    SpoolFullError,
    UnsupportedContentError,
)
from eaves.events import Event, decode, encode_binary
from eaves.federation_events import find_fault, name_head
from eaves.http_client.client import HttpAnswer
from eaves.ingress import MemoryBudget, Request, Response, answer_error, answer_json, answer_problem
from eaves.ingress.request import BrokenOffError
from eaves.ingress.store_route import is_batch, is_structured, read_events
from eaves.link.protocol import (
    EVENTS,
    FUNCTIONS,
    HEADS,
    HEALTH,
    LEDGER,
    MAX_DETAIL,
    PARTS,
    SITE,
    UPLOAD,
    BatchAnswer,
    RefusedEvent,
)
from eaves.link.settings import ReceiverSettings
from eaves.link.sites import SiteCounters, Sites
from eaves.link.uploads import Uploads
from eaves.spool import PutOutcome, Spool
from eaves.spool.admin import measure_sites
from eaves.spool.ledger import encode_lines

GET, POST = ("GET", "HEAD"), ("POST",)
RETRY_S = "2"
"""Value of Retry-After in an answer with 429 or 503, seconds."""
PASSED_ON = ("content-type", "retry-after")
"""Headers of a function's answer that are passed on to the caller, in addition to those of a CloudEvent."""
MAX_LINES, MAX_LINES_BYTES, PIECE = 10_000, 4_000_000, 200
"""Maximum number of the ledger's lines in one answer, about 200 bytes each; size at which an answer ends even before
that, bytes, because ids may be long; and the number of lines that are read at a time."""

LANE = "sink"
"""Name of the receiver's only lane. An agent's lane has the same name, so the same commands manage both queues."""
RECOUNT_S = 10.0
"""Time for which a count of what waits is used, seconds; counting reads all that waits, a second for half a million."""
STATUS_OUTCOMES = {403: "forged", 409: "conflicting"}
"""Outcome under which a refused event is counted, by its HTTP status; every other status is counted as malformed."""

Route = Callable[[str, Request], Response]


class ReceiverRoutes:
    """Answers the requests that sites send to the receiver, after it has authenticated the site.

    Args:
        settings: Settings of the receiver.
        sites: Sites that may send.
        spool: Spool that stores the events, with a ledger.
        client: HTTP client for functions.
        counters: Counters to update for each event and refusal.
        is_well: Function that returns whether every part of the process works.
    """

    def __init__(
        self,
        settings: ReceiverSettings,
        sites: Sites,
        spool: Spool,
        client: SinkClient,
        counters: SiteCounters,
        is_well: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._max_bytes = settings.max_bytes
        self._sites = sites
        self._spool = spool
        self._client = client
        self._counters = counters
        self._is_well = is_well
        self._intake = ReceiverIntake(spool, counters, lambda: len(sites.names()) > 1)
        self._uploads = Uploads(settings.spool.with_name(f"{settings.spool.name}.parts"), max_bytes=settings.max_bytes)
        self._functions = settings.function_urls()
        # Images that wait for predictions wait for long, and must not keep out events meanwhile.
        self._function_budget = MemoryBudget(settings.in_flight_bytes, largest=settings.max_bytes)
        self._routes: Mapping[str, tuple[tuple[str, ...], Route]] = {
            EVENTS: (POST, self._take_events),
            PARTS: (POST, self._take_part),
            FUNCTIONS: (POST, self._ask_function),
            SITE: (GET, lambda site, _: answer_json({"site": site})),
            LEDGER: (GET, self._answer_ledger),
            HEADS: (GET, self._answer_head),
        }

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        self._uploads.expire()
        if request.path == HEALTH:
            if request.method not in GET:
                return answer_problem(405, f"{HEALTH} accepts only GET and HEAD", Allow="GET, HEAD")
            is_well = self._is_well()
            return answer_json({"status": "ok" if is_well else "unwell"}, 200 if is_well else 503)
        authorization = ", ".join(request.headers.get_all("authorization", []))
        site = self._sites.identify(authorization, request.caller.names)
        if not site:
            detail = f"no valid token or certificate of a site, from {request.caller.address}"
            self._counters.refuse("", "unauthorised", detail)
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
            if outcome := _find_outcome(error):
                self._counters.refuse(site, outcome, error.message)
            later = {"Retry_After": RETRY_S} if error.http_status in (429, 503) else {}
            return answer_error(error, **later)

    def _answer(self, site: str, request: Request) -> Response:
        prefix = next((prefix for prefix in (PARTS, FUNCTIONS, HEADS) if request.path.startswith(prefix)), request.path)
        if prefix not in self._routes:
            return answer_problem(404, f"no such endpoint: {request.path[:128]}", f"send events with POST to {EVENTS}")
        methods, route = self._routes[prefix]
        if request.method not in methods:
            allowed = ", ".join(methods)
            return answer_problem(405, f"{request.path[:128]} accepts only {allowed}", Allow=allowed)
        return route(site, request)

    def _take_events(self, site: str, request: Request) -> Response:
        if UPLOAD in request.headers:
            return self._take_uploaded(site, request.headers[UPLOAD], request)
        answer = self._intake.store_events(site, read_events(request, self._max_bytes))
        if answer.refused and not is_batch(request):
            return answer_problem(answer.refused[0].status, answer.refused[0].detail)
        return answer_json(asdict(answer))

    def _take_uploaded(self, site: str, digest: str, request: Request) -> Response:
        """Store an event whose data arrived in parts and whose attributes are the headers of this request.

        The answer accounts for the event as for a batch, even when the event is refused. So the relay learns whether
        this receiver or something on the way refuses the event, without sending all of it again.
        """
        if is_structured(request):
            raise UnsupportedContentError("an upload must be the data of one event in binary mode")
        request.reserve_memory(self._uploads.size(site, digest))
        body = self._uploads.read(site, digest)
        if body is None:
            return answer_problem(412, f"the upload of the body {digest[:16]} is not complete", "send the body again")
        try:
            event: Event | EventError = decode(request.header_fields(), body)
        except EventError as error:
            event = error
        answer = self._intake.store_events(site, [event])
        self._uploads.finish(site, digest)
        return answer_json(asdict(answer))

    def _take_part(self, site: str, request: Request) -> Response:
        query = dict(parse_qsl(request.query))
        digest = request.path.removeprefix(PARTS)
        part = request.read_body(self._max_bytes)
        received = self._uploads.append(site, digest, part, offset=query.get("offset", ""), size=query.get("size", ""))
        return answer_json({"received": received})

    def _answer_ledger(self, site: str, request: Request) -> Response:
        """Answer with the ledger's lines about a site's events, in the order of arrival, as JSON lines."""
        given = dict(parse_qsl(request.query, keep_blank_values=True))
        if unknown := sorted(given.keys() - {"after", "limit"}):
            raise InputError(
                f"the ledger has no query parameter {unknown[0][:64]!r}", hint="query parameters: after, limit"
            )
        after, left = _number(given, "after", 0), min(_number(given, "limit", MAX_LINES), MAX_LINES)
        body = bytearray()
        while self._spool.ledger is not None and left and len(body) < MAX_LINES_BYTES:
            lines = self._spool.ledger.read(after=after, limit=min(left, PIECE), site=site)
            if not lines:
                break
            body += encode_lines(lines)
            after, left = lines[-1].number, left - len(lines)
        return Response(status=200, headers={"Content-Type": "application/jsonl"}, body=bytes(body))

    def _answer_head(self, site: str, request: Request) -> Response:
        """Answer with a model's merged head, or with 304 when the caller has it."""
        name = request.path.removeprefix(HEADS)
        path = name_head(name)
        if not path or self._settings.folder is None:
            raise NotFoundError(f"this receiver has no head of {name[:64]!r}", hint="run the receiver with --folder")
        file = self._settings.folder / path
        with disk_errors(file):
            try:
                head = file.read_bytes()
            except FileNotFoundError:
                raise NotFoundError(f"there is no head of {name} yet", hint="run eaves federate collect") from None
        tag = f'"{hashlib.sha256(head).hexdigest()}"'
        if request.headers.get("If-None-Match") == tag:
            return Response(status=304, headers={"ETag": tag})
        return Response(status=200, headers={"Content-Type": "application/octet-stream", "ETag": tag}, body=head)

    def _ask_function(self, site: str, request: Request) -> Response:
        """Pass an image to a function in the cloud and answer as it does (`through: cloud`). Nothing is stored.

        An agent sends an event again when it gets no answer.
        """
        name = request.path.removeprefix(FUNCTIONS)
        url = self._functions.get(name)
        if url is None:
            names = ", ".join(self._functions)
            known = f"available functions: {names}" if names else "the receiver has no functions"
            raise NotFoundError(f"there is no function {name[:64]!r}", hint=known)
        if is_batch(request):
            raise UnsupportedContentError("batches of CloudEvents are not supported", hint="send one image per request")
        request.admit(site, self._function_budget)
        (event,) = read_events(request, self._max_bytes)
        if isinstance(event, EventError):
            raise event
        if fault := find_forgery(site, event):
            self._counters.refuse(site, "forged", fault)
            raise ForbiddenError(fault)
        answer = self._predict(site, name, url, event)
        self._counters.add(site, "predicted" if answer.status < 300 else "failed")
        headers = {key: value for key, value in answer.headers.items() if key in PASSED_ON or key.startswith("ce-")}
        return Response(status=answer.status, headers=headers, body=answer.body)

    def _predict(self, site: str, name: str, url: str, event: Event) -> HttpAnswer:
        headers, body = encode_binary(event)
        headers["Prefer"] = "reply"
        timeout_s = self._settings.function_timeout_s
        try:
            return self._client.request("POST", url, headers=headers, body=body, timeout_s=timeout_s)
        except DeliveryError as error:
            self._counters.refuse(site, "failed", error.message)
            # The caller isn't given the function's address, which is internal to the cloud.
            raise DeliveryError(f"the function {name} doesn't answer", hint="see the log of the receiver") from error


def _find_outcome(error: EavesError) -> str:
    """Return the outcome that a refused request is counted by; empty when it isn't, or was counted before."""
    if isinstance(error, ImageTooLargeError | BatchTooLargeError):
        return "oversized"
    if isinstance(error, OverloadedError):
        return "overloaded"
    is_cut = isinstance(error, BrokenOffError)  # the link was cut, or the relay sends something else first
    return "malformed" if isinstance(error, EventError | MalformedRequestError) and not is_cut else ""


def _number(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise InputError(f"{name} must be a number (got {text[:64]!r})")
    return int(text)


class ReceiverIntake:
    """Stores sites' events in the spool and counts the outcomes. Safe to use from many threads.

    There is room in the spool for all sites while deliveries wait: what waits of one site may take no more room than is
    still free. So one broken camera, or one stolen token, takes half of the spool, and the alarms of the other sites
    find room. Source: Choudhury and Hahne, Dynamic Queue Length Thresholds (1998), with a factor of 1.

    Args:
        spool: Spool with a ledger that stores the events.
        counters: Counters to update for each event.
        has_more_sites: Returns whether there is more than one site.
    """

    def __init__(self, spool: Spool, counters: SiteCounters, has_more_sites: Callable[[], bool] = lambda: True) -> None:
        self._spool = spool
        self._counters = counters
        self._has_more_sites = has_more_sites
        self._lock = threading.Lock()
        self._counted_at = float("-inf")
        self._waiting: dict[str, tuple[int, int]] = {}
        """Numbers of entries and bytes, by site."""

    def store_events(self, site: str, events: Sequence[Event | EventError]) -> BatchAnswer:
        """Store a site's events in one commit. All but the refused ones are on disk when this returns.

        Args:
            site: Name of the site that sends them.
            events: Events in order; one that is not well-formed is replaced by its error.

        Raises:
            SpoolFullError: When there is no room for the events; none was stored.
            SpoolError: When the events can't be written; none was stored.
        """
        refused: dict[int, tuple[int, str]] = {}
        wanted: dict[int, Event] = {}
        for index, event in enumerate(events):
            if isinstance(event, EventError):
                refused[index] = event.http_status, event.message
            elif fault := find_forgery(site, event):
                refused[index] = 403, fault
            elif fault := find_fault(event):
                refused[index] = EventError.http_status, fault
            else:
                wanted[index] = event
        outcomes: Sequence[PutOutcome] = ()
        try:
            if wanted:
                self._check_share(site, wanted.values())
                outcomes = self._spool.put_many([(event, (LANE,)) for event in wanted.values()], once=True)
        except SpoolError as error:
            self._counters.refuse(site, "full", error.message)
            raise
        for (index, event), outcome in zip(wanted.items(), outcomes, strict=True):
            if outcome is PutOutcome.CONFLICTING:
                about = f"an event from {event.source[:100]} with the id {event.id[:64]!r}"
                refused[index] = 409, f"{about} but other content was already received"
        stored = outcomes.count(PutOutcome.STORED)
        repeated = len(events) - stored - len(refused)
        self._counters.add(site, "stored", stored)
        self._counters.add(site, "repeated", repeated)
        for status, detail in refused.values():
            self._counters.refuse(site, STATUS_OUTCOMES.get(status, "malformed"), detail)
        answers = [
            RefusedEvent(index=index, status=status, detail=detail[:MAX_DETAIL])
            for index, (status, detail) in sorted(refused.items())
        ]
        return BatchAnswer(stored=stored, repeated=repeated, refused=tuple(answers))

    def _check_share(self, site: str, events: Collection[Event]) -> None:
        """Check that a site's events may be stored.

        Raises:
            SpoolFullError: When the site has used its share of the room.
            SpoolError: When the spool can't be read.
        """
        limits = self._spool.limits
        free_bytes = limits.max_bytes - self._spool.size_bytes()
        free_entries = limits.max_entries - self._spool.depth()
        is_half_free = 2 * free_bytes >= limits.max_bytes and 2 * free_entries >= limits.max_entries
        if is_half_free or not self._has_more_sites():
            return
        events = [one for one in events if not self._spool.seen(one.source, one.id)]
        if not events:  # repeated ones need no room
            return
        with self._lock:
            now = self._spool.clock.monotonic()
            if now - self._counted_at > RECOUNT_S:
                self._counted_at, self._waiting = now, measure_sites(self._spool, LANE)
            entries, waiting_bytes = self._waiting.get(site, (0, 0))
            entries, waiting_bytes = entries + len(events), waiting_bytes + sum(len(event.data) for event in events)
            if entries > free_entries or waiting_bytes > free_bytes:
                raise SpoolFullError(
                    f"{entries - len(events)} events of site {site} wait already, and the rest of the queue is kept "
                    "for other sites",
                    hint="send the events again later",
                )
            self._waiting[site] = entries, waiting_bytes


def find_forgery(site: str, event: Event) -> str:
    """Return why an event can't be this site's; empty when it can."""
    prefix = f"/eaves/{site}/"
    if event.source.startswith(prefix) and len(event.source) > len(prefix):
        return ""
    return f"the source of an event from site {site} must begin with {prefix} (got {event.source[:100]!r})"
