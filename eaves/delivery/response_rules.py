"""Rules for what a sender does after an HTTP response; pure functions and values.

Source: Knative Eventing data plane contract (knative/specs, specs/eventing/data-plane.md), and its implementation where
the contract leaves room (knative/eventing, pkg/kncloudevents/retries.go).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from eaves.events import DATAREF, Event
from eaves.problem_document import find_kind, parse_problem
from eaves.redact import redact
from eaves.spool.outcomes import ANSWERED, FAILED, REFUSED

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
    """What is at fault when an attempt fails. Lanes with a limited number of retries count attempts instead."""

    EVENT = "event"
    """The event is at fault; another attempt doesn't help."""
    LATER = "later"
    """The receiver is busy, or a proxy takes no request of this size; however often that is answered, it says nothing
    about the event."""
    WAY = "way"
    """The receiver or the network path to it is probably at fault, so the lane pauses at once; other entries decide
    whether it is this event after all (`eaves.delivery.evidence`)."""
    UNKNOWN = "unknown"
    """The event or the network path may be at fault; the next entry is tried at once, and other entries decide."""


EVENT_STATUSES = frozenset({400, 411, 413, 415, 422})
"""HTTP statuses that refuse an event for good, when the receiver chose them for certain. A proxy has reasons of its own
for them: nginx answers 413 above 1 MB, and 400 to plain HTTP on a port for HTTPS."""
LATER_STATUSES = frozenset({409, 411, 413, 429})
"""HTTP statuses that ask for the same event later, or that name a limit of a proxy; 503 with Retry-After asks too."""
UNAVAILABLE = 503
"""HTTP status of a receiver that takes no event at present, whichever it is."""
WAY_STATUSES = frozenset({NO_ANSWER, 401, 403, 404, 405, 407, 410, 502, 503, 504})
"""HTTP statuses that proxies, gateways and login pages return for any event, so that the network path is at fault;
every 3xx status counts too."""
EVENT_PROBLEMS = frozenset(
    {
        "input",
        "event",
        "unsupported-content",
        "image",
        "batch-too-large",
        "image-too-large",
        "claim",
        "claim-too-large",
        "tensor",
        "http-413",
    }
)
"""Problem types of servers of Eaves that blame the event, even when a proxy has replaced the status by another. Others,
such as that of a request that can't be parsed (`http-400`), don't: something on the way may have damaged the request.
"""

NOT_ITS_OWN = frozenset({"loading", "stopped"})
"""Problem types of a replica that is starting or ending. They don't count as failures of its revision, since they occur
with any revision and the sender tries again."""
SENT_AGAIN = frozenset({408, 409, 429})
"""Statuses of a request that its sender sends again later: the moment causes them, so they are no refusals."""

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
        is_receivers: Whether the status is certainly the receiver's own, as in MQTT; an HTTP proxy may choose another.
        revision: Revision of the function that responded, and that leaves it to the sender to count the outcome; empty
            otherwise.
    """

    status: int
    event: Event | None = None
    body: bytes = b""
    fault: str = ""
    retry_after_s: float | None = None
    latency_ms: float = 0.0
    is_receivers: bool = False
    revision: str = ""


def classify_outcome(status: int, problem: str) -> str:
    """Return what a response says about the revision of a function, as a rollout counts it; empty when nothing.

    Args:
        status: HTTP status.
        problem: Last part of the type of its problem document; empty without one.
    """
    if status >= 500:
        return "" if problem in NOT_ITS_OWN else FAILED
    if status >= 400:
        return "" if status in SENT_AGAIN else REFUSED
    return ANSWERED if 200 <= status < 300 and status != ACCEPTED else ""


def choose_action(status: int) -> DeliveryAction:
    """Return the sender's action for an HTTP status or for `NO_ANSWER`."""
    if 200 <= status < 300:
        return DeliveryAction.DONE
    if status >= 500 or status in RETRIED_STATUSES:
        return DeliveryAction.RETRY
    return DeliveryAction.REFUSED


def find_blame(
    status: int, body: bytes = b"", *, retry_after_s: float | None = None, is_receivers: bool = False
) -> Blame:
    """Return what is at fault for a failed attempt.

    Args:
        status: HTTP status.
        body: Body of the response. A problem document of Eaves shows that no proxy chose the status.
        retry_after_s: Value of the Retry-After header in seconds; None when there is none.
        is_receivers: Whether the status is known to be the receiver's own without a problem document.
    """
    kind = find_kind(parse_problem(body))
    if kind in EVENT_PROBLEMS or (status in EVENT_STATUSES and is_receivers):
        return Blame.EVENT
    if status in LATER_STATUSES or (status == UNAVAILABLE and retry_after_s is not None):
        return Blame.LATER
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
