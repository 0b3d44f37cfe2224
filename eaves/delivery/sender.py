"""What sends entries to a receiver, and what an attempt's result says; the HTTP client of receivers of events."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from eaves.delivery.response_rules import (
    ACCEPTED,
    NO_ANSWER,
    Blame,
    DeliveryAction,
    SinkResponse,
    choose_action,
    classify_outcome,
    describe_response,
    find_blame,
    find_store,
    is_fetch_failure,
    shorten,
)
from eaves.errors import DeliveryError, EavesError, EventError, InterceptedError, UnreachableError
from eaves.events import Event, decode, encode_binary, is_event
from eaves.http_client.client import HttpAnswer, HttpClient
from eaves.http_client.headers import parse_retry_after, shorten_url
from eaves.problem_document import COUNTED_HEADER, REVISION_HEADER, find_kind, parse_problem
from eaves.spool import Entry, Puts
from eaves.spool.image_choice import Candidate
from eaves.spool.outcomes import ANSWERED, FAILED, Outcome
from eaves.spool.score_shift import Sample

JUNK_STATUS = 502
"""Status for a reply that is not a CloudEvent, as Knative's broker sets it.

Source: knative/eventing, filter_handler.go.
"""
MAX_REVISION = 63
"""Maximum characters of the name of a revision. Source: Kubernetes, Object Names and IDs."""
_PAGE_TYPES = frozenset({"text/html", "application/xhtml+xml"})

Send = Callable[[Event], SinkResponse]
OnReply = Callable[[Entry, Event], Puts]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptResult:
    """The result of one attempt, for one entry or for a request as a whole.

    Attributes:
        status: HTTP status that decided the result; 0 when there was no response.
        blame: What is at fault; None when the entry was accepted.
        reason: Reason for a failure; empty otherwise.
        asked_s: Pause that the receiver asks for (Retry-After), seconds; None when it asks for none.
        answer: Response of the sink; None when there was none.
        puts: Events to store for the reply, with their lanes.
        sample: Score of the reply that the spool counts; None when it counts none.
        candidate: Image that the spool may choose for labelling; None when there is none.
        reached: Whether any part of the request was sent.
        intercepted: Whether something else answered than the receiver, perhaps for the event's content.
        store: Store that the receiver couldn't fetch the event's data from, or that an image goes to; else empty. Only
            results with the same store show whether an entry is refused alone.
    """

    status: int = ACCEPTED
    blame: Blame | None = None
    reason: str = ""
    asked_s: float | None = None
    answer: SinkResponse | None = None
    puts: Puts = ()
    sample: Sample | None = None
    candidate: Candidate | None = None
    reached: bool = True
    intercepted: bool = False
    store: str = ""

    @property
    def is_free(self) -> bool:
        """Whether the attempt costs none of a limited number of retries.

        Something else answered than the receiver, or the receiver asks for the event later and says when (Retry-After).
        """
        return self.intercepted or (self.blame is Blame.LATER and self.asked_s is not None)

    @property
    def outcome(self) -> Outcome | None:
        """The outcome to count for a revision of a function; None when there is none, or the function counts it."""
        if self.answer is None or not self.answer.revision:
            return None
        kind = classify_outcome(self.answer.status, find_kind(parse_problem(self.answer.body)))
        if kind == ANSWERED and self.blame is not None:  # its reply can't be used
            kind = FAILED
        return (self.answer.revision, kind) if kind else None


class Sender:
    """Sends the entries of lanes to one receiver. The defaults are for one that takes one event a request.

    Attributes:
        to: Address of the receiver, for the log; empty for the name of the lane.
        parallel: Maximum number of requests at the same time; more than one only when a request has one entry.
        reply_lane: Lane of the same spool in which replies wait; empty for none. While the spool is over its limit,
            replies go first, because they are stored even then, and may be larger than what they replace.
        probe_s: Time without an answer after which a receiver is probed, seconds, 0 for never; None for a receiver
            without a probe. A receiver with one is probed after each failure, before the next request is sent.
    """

    to = ""
    parallel = 1
    reply_lane = ""
    probe_s: float | None = None

    def limits(self, lane: str) -> tuple[int, int]:
        """Return the maximum number of entries and of bytes of the next request with entries of a lane."""
        return 1, 0

    def unfinished(self, lane: str) -> Entry | None:
        """Return the entry of a lane of which a part was sent; None without one."""
        return None

    def prepare(self, entries: Sequence[Entry]) -> None:
        """Prepare the request that will probably follow the one in progress. Called from another thread than `send`."""

    def put_off(self, entry: Entry) -> None:
        """Note that others are sent before this entry, of which a part may have been sent, is tried again."""

    def ready_s(self) -> float:
        """Return the seconds until the next request may be sent; probes needn't wait for it."""
        return 0.0

    def send(self, lane: str, entries: Sequence[Entry]) -> Sequence[AttemptResult] | None:
        """Send one request.

        Returns:
            One result for each entry; one failure for a request that failed as a whole; none, when only a part of the
            first entry was sent; or None, when the next request must have another form or size.
        """
        raise NotImplementedError

    def probe(self) -> None:
        """Ask the receiver whether it would take this sender's events.

        Raises:
            EavesError: When it doesn't, or doesn't answer.
        """
        raise NotImplementedError

    def wants_probe(self) -> bool:
        """Return whether to probe now, as after new credentials."""
        return False

    def abort(self) -> None:
        """End the request in progress, which takes too long at shutdown."""


class EventSender(Sender):
    """Sends one event a request, and judges the response and its reply.

    Args:
        send: Function that sends one event. A DeliveryError counts as no response, and another EavesError as a response
            with its `http_status`; any other exception is logged with its traceback and retried.
        parallel: Maximum number of requests at the same time.
        abort: Function that ends the requests in progress.
        on_reply: Function that returns the events to store for a reply, in the commit that acknowledges the entry. With
            it, a body that is no CloudEvent is a failure; without it, no reply is requested and bodies are ignored.
        reply_required: Whether a success without a reply is a failure; status 202, which says that there is no reply,
            remains a success.
        reply_lane: Lane in which replies wait, see `Sender`.
        read_sample: Function that returns the score of a reply that the spool counts, or None.
        find_candidate: Function that returns the image of an event and its reply that the spool may choose, or None.
    """

    def __init__(
        self,
        send: Send,
        *,
        parallel: int = 1,
        abort: Callable[[], None] = lambda: None,
        on_reply: OnReply | None = None,
        reply_required: bool = False,
        reply_lane: str = "",
        read_sample: Callable[[Event], Sample | None] = lambda reply: None,
        find_candidate: Callable[[Event, Event], Candidate | None] | None = None,
    ) -> None:
        self._send = send
        self._abort = abort
        self.parallel = parallel
        self._on_reply = on_reply
        self.reply_lane = reply_lane
        self._reply_required = reply_required
        self._read_sample = read_sample
        self._find_candidate = find_candidate

    def send(self, lane: str, entries: Sequence[Entry]) -> Sequence[AttemptResult]:
        """Send one entry's event and return the result."""
        return [self._attempt(lane, entries[0])]

    def abort(self) -> None:
        """End the requests in progress."""
        self._abort()

    def _attempt(self, lane: str, entry: Entry) -> AttemptResult:
        try:
            answer = self._send(entry.event)
        except DeliveryError as error:
            return AttemptResult(
                status=NO_ANSWER,
                blame=Blame.WAY,
                reason=shorten(error.message),
                reached=not isinstance(error, UnreachableError),
                intercepted=isinstance(error, InterceptedError),
            )
        except EavesError as error:
            blame = find_blame(error.http_status, is_receivers=True)
            return AttemptResult(status=error.http_status, blame=blame, reason=shorten(error.message))
        except Exception as error:  # noqa: BLE001 - foreign code; retried
            _log.exception("queue %s: sending event %s failed unexpectedly", lane, entry.event.id[:64])
            return AttemptResult(status=500, blame=Blame.UNKNOWN, reason=shorten(f"{type(error).__name__}: {error}"))
        if choose_action(answer.status) is not DeliveryAction.DONE:
            return _judge_failure(entry.event, answer)
        return self._judge_reply(lane, entry, answer)

    def _judge_reply(self, lane: str, entry: Entry, answer: SinkResponse) -> AttemptResult:
        done = AttemptResult(status=answer.status, answer=answer)
        if self._on_reply is None or answer.status == ACCEPTED:
            return done
        if answer.event is None:
            reason = self._reply_fault(answer)
            if not reason:
                return done
            return AttemptResult(status=JUNK_STATUS, blame=Blame.UNKNOWN, reason=reason, answer=answer)
        try:
            puts, sample = self._on_reply(entry, answer.event), self._read_sample(answer.event)
            candidate = self._find_candidate(entry.event, answer.event) if self._find_candidate is not None else None
        except Exception as error:  # noqa: BLE001 - foreign code; retried
            _log.exception("queue %s: the reply to event %s can't be used", lane, entry.event.id[:64])
            reason = shorten(f"the reply can't be used: {type(error).__name__}: {error}")
            return AttemptResult(status=500, blame=Blame.UNKNOWN, reason=reason, answer=answer)
        return AttemptResult(status=answer.status, answer=answer, puts=puts, sample=sample, candidate=candidate)

    def _reply_fault(self, answer: SinkResponse) -> str:
        """Return why a success counts as a failure for lack of the required reply; empty when it doesn't."""
        if answer.fault:
            return f"answered {answer.status} with an invalid CloudEvent: {shorten(answer.fault)}"
        if answer.body:
            return (
                f"answered {answer.status} with {len(answer.body)} bytes that are not a "
                "CloudEvent; the answer to `Prefer: reply` must be empty or a CloudEvent, "
                "because a Knative Broker turns any other answer into a 502 and retries"
            )
        if self._reply_required:
            return f"answered {answer.status} without a prediction; only the status 202 may come without one"
        return ""


def _judge_failure(event: Event, answer: SinkResponse) -> AttemptResult:
    store = find_store(event) if is_fetch_failure(answer.body) else ""
    asked_s = answer.retry_after_s
    blame = find_blame(answer.status, answer.body, retry_after_s=asked_s, is_receivers=answer.is_receivers)
    return AttemptResult(
        status=answer.status,
        blame=Blame.UNKNOWN if store else blame,
        reason=describe_response(answer.status, answer.body),
        asked_s=asked_s,
        answer=answer,
        store=store,
    )


class SinkClient(HttpClient):
    """The HTTP client of sinks and functions. The spool handles retries."""

    def post(
        self,
        url: str,
        event: Event,
        *,
        prefer_reply: bool,
        timeout_s: float,
        more_headers: Mapping[str, str] | None = None,
    ) -> SinkResponse:
        """Send one event in binary mode and read the response.

        Args:
            url: URL of the sink.
            event: Event to send.
            prefer_reply: Whether to ask for a CloudEvent in the response.
            timeout_s: Time limit of the exchange in seconds; see `request`.
            more_headers: Headers to send in addition to those of the event.

        Raises:
            EventError: When the event can't be encoded; a retry would fail too.
            UnreachableError: When nothing was sent, because no connection was made, a proxy refused it or TLS failed.
            InterceptedError: When a web page or a redirect shows that something else answered in place of the sink, or
                TLS failed after the request was sent.
            DeliveryError: When there is no usable response.
        """
        headers, body = encode_binary(event)
        headers |= more_headers or {}
        if prefer_reply:
            headers["Prefer"] = "reply"
        answer = self.request("POST", url, headers=headers, body=body, timeout_s=timeout_s)
        if what := _find_foreign_answer(answer):
            raise InterceptedError(
                f"{shorten_url(url)} answered {answer.status} with {what}, "
                "so it is not the receiver of events that answered",
                hint="check the address, and whether a login page or a proxy is in between",
            )
        reply, fault = None, ""
        # "Responses with a 202 response code MUST NOT be processed as reply events" (data plane contract).
        done = choose_action(answer.status) is DeliveryAction.DONE
        if done and answer.status != ACCEPTED and is_event(answer.headers):
            try:
                if not answer.is_framed:
                    raise EventError("the response has no Content-Length, so its data may be cut off")
                reply = decode(answer.headers, answer.body)
            except EventError as error:
                fault = shorten(str(error))
                _log.warning(
                    "%s answered event %s with an invalid CloudEvent: %s", shorten_url(url), event.id[:64], error
                )
        revision = answer.headers.get(REVISION_HEADER.lower(), "") if COUNTED_HEADER in headers else ""
        return SinkResponse(
            status=answer.status,
            event=reply,
            body=answer.body if reply is None else b"",
            fault=fault,
            retry_after_s=parse_retry_after(answer.headers),
            latency_ms=answer.latency_ms,
            revision=revision[:MAX_REVISION],
        )


def read_reply(answer: HttpAnswer) -> SinkResponse:
    """Return the response of a function that a platform has asked.

    Raises:
        EventError: When its body claims to be a CloudEvent and is none.
    """
    is_reply = answer.status < 300 and is_event(answer.headers)
    return SinkResponse(
        status=answer.status,
        event=decode(answer.headers, answer.body) if is_reply else None,
        body=b"" if is_reply else answer.body,
        latency_ms=answer.latency_ms,
    )


def _find_foreign_answer(answer: HttpAnswer) -> str:
    """Return what shows that an answer is not from a receiver of events, such as that of a captive portal; else empty.

    A receiver acknowledges an event with an empty body, text, JSON or a CloudEvent, and never redirects a POST.
    Source: RFC 8910 (captive portals redirect or answer with a page), RFC 6585, section 6 (status 511).
    """
    if 300 <= answer.status < 400:
        return f"a redirect to {shorten(answer.headers.get('location', 'nowhere'))}"
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    begin = answer.body[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    is_page = begin.startswith((b"<!doctype html", b"<html")) or (media_type in _PAGE_TYPES and begin.startswith(b"<"))
    if answer.status == 511 or (200 <= answer.status < 300 and is_page):
        return f"a web page: {shorten(answer.body[:1024].decode('utf-8', 'replace'), 120)}"
    return ""
