"""Rules for what a sender does after an HTTP response; pure functions and values.

Source: Knative Eventing data plane contract (knative/specs, specs/eventing/data-plane.md), and its implementation where
the contract leaves room (knative/eventing, pkg/kncloudevents/retries.go).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from eaves.credentials.redact import redact
from eaves.events import DATAREF, Event
from eaves.web.problem_document import find_kind, parse_problem

NO_ANSWER = 0
"""Value used in place of an HTTP status when there was no response."""
ACCEPTED = 202
"""HTTP status of an event that was accepted without a reply; a body in such a response is never a reply."""


class DeliveryAction(enum.Enum):
    """What a sender does next with an event, after the response to it."""

    DONE = "done"
    RETRY = "retry"
    REFUSED = "refused"


RETRIED_STATUSES = frozenset({NO_ANSWER, 404, 408, 409, 429})
"""Statuses that are retried besides 5xx.

Source: retries.go, SelectiveRetry; the contract lists the same statuses except 408.
"""


class Blame(enum.Enum):
    """What is at fault when an attempt fails, for lanes with unlimited retries."""

    EVENT = "event"
    """The event is at fault; another attempt doesn't help."""
    WAY = "way"
    """The receiver or the network path to it is at fault; any other event would fail too at this time."""
    UNKNOWN = "unknown"
    """The event or the network path may be at fault; other entries decide (`eaves.delivery.refusal_history`)."""


EVENT_STATUSES = frozenset({400, 411, 413, 415, 422})
WAY_STATUSES = frozenset({NO_ANSWER, 401, 403, 404, 405, 407, 410, 429, 502, 503, 504})
"""HTTP statuses that proxies, gateways and login pages return for any event, so that the network path is at fault;
every 3xx status counts too."""
EVENT_PROBLEMS = frozenset(
    {"input", "event", "unsupported-content", "image", "image-too-large", "claim", "claim-too-large", "tensor"}
)
"""Problem types of a function that blame the event, even when a proxy has replaced the function's status by another."""

FETCH_PROBLEMS = frozenset({"claim-denied", "delivery", "unreachable"})
"""Problem types of a function that can't fetch the data of an event (`dataref`) at present."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkResponse:
    """The response of a function or of any other HTTP sink.

    Attributes:
        status: HTTP status.
        event: Reply, when the body is a CloudEvent.
        body: Body, when it is no CloudEvent.
        fault: Reason why a 2xx reply can't be used; empty otherwise.
        retry_after_s: Value of the Retry-After header in seconds; None when there is none.
        latency_ms: Time from sending to the last byte of the response, in milliseconds.
    """

    status: int
    event: Event | None = None
    body: bytes = b""
    fault: str = ""
    retry_after_s: float | None = None
    latency_ms: float = 0.0


def choose_action(status: int) -> DeliveryAction:
    """Return the sender's action for an HTTP status or for `NO_ANSWER`."""
    if 200 <= status < 300:
        return DeliveryAction.DONE
    if status >= 500 or status in RETRIED_STATUSES:
        return DeliveryAction.RETRY
    return DeliveryAction.REFUSED


def find_blame(status: int, body: bytes = b"") -> Blame:
    """Return what is at fault for a failed attempt, by status and response body."""
    if status in EVENT_STATUSES or find_kind(parse_problem(body)) in EVENT_PROBLEMS:
        return Blame.EVENT
    return Blame.WAY if status in WAY_STATUSES or 300 <= status < 400 else Blame.UNKNOWN


def is_fetch_failure(body: bytes) -> bool:
    """Return whether a response says that the receiver can't fetch the event's data from its store at present."""
    return find_kind(parse_problem(body)) in FETCH_PROBLEMS


def find_store(event: Event) -> str:
    """Return the host of the store that holds the event's data (`dataref`); empty for an event with data."""
    reference = "" if event.data else event.extensions.get(DATAREF, "")
    return reference.partition("://")[2].partition("/")[0].lower()


def shorten(text: str, limit: int = 256) -> str:
    """Return foreign text as one line of limited length without passwords and tokens, for a reason or a log line."""
    return redact(" ".join(text.split()))[:limit]


def describe_response(status: int, body: bytes) -> str:
    """Return the reason text for a response that isn't a success."""
    text = shorten(body[:1024].decode("utf-8", "replace"))
    return f"answered {status}: {text}" if text else f"answered {status}"
