"""What a sender does about an answer: pure functions and values.

Source: Knative Eventing data plane contract (knative/specs, specs/eventing/data-plane.md), and what its code does where
the contract leaves room (knative/eventing, pkg/kncloudevents/retries.go).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from eaves.credentials.redact import redact
from eaves.events import Event
from eaves.problem_document import find_kind, parse_problem

NO_ANSWER = 0
"""Stands for an HTTP status where there was none."""
ACCEPTED = 202
"""Taken, without a reply: a body that comes with it is never one."""


class DeliveryAction(enum.Enum):
    """What a sender does next."""

    DONE = "done"
    RETRY = "retry"
    REFUSED = "refused"


RETRIED_STATUSES = frozenset({NO_ANSWER, 404, 408, 409, 429})
"""Retried besides 5xx. Source: retries.go, SelectiveRetry; the contract lists the same but for 408."""


class Blame(enum.Enum):
    """What a failure says is wrong, for lanes that never give up."""

    EVENT = "event"
    """The event: no other attempt helps."""
    WAY = "way"
    """The way to the receiver, or the receiver: any other event would fare the same just now."""
    UNKNOWN = "unknown"
    """Either: other entries tell (`eaves.delivery.refusal_history`)."""


EVENT_STATUSES = frozenset({400, 411, 413, 415, 422})
WAY_STATUSES = frozenset({NO_ANSWER, 401, 403, 404, 405, 407, 410, 429, 502, 503, 504})
"""Besides every 3xx: what proxies, gateways and logins answer, whatever the event."""
EVENT_PROBLEMS = frozenset(
    {"input", "event", "unsupported-content", "image", "image-too-large", "claim", "claim-too-large", "tensor"}
)
"""Problem types of a function that say that the event is at fault, whatever status a proxy made of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkResponse:
    """What a function (or any HTTP sink) answered.

    Attributes:
        status: HTTP status.
        event: The reply when the body is a CloudEvent.
        body: The body otherwise.
        fault: Why a 2xx reply can't be used, empty otherwise.
        retry_after_s: The Retry-After header in seconds, None without one.
        latency_ms: From sending to the last byte.
    """

    status: int
    event: Event | None = None
    body: bytes = b""
    fault: str = ""
    retry_after_s: float | None = None
    latency_ms: float = 0.0


def choose_action(status: int) -> DeliveryAction:
    """What a sender does about an HTTP status, or about `NO_ANSWER`."""
    if 200 <= status < 300:
        return DeliveryAction.DONE
    if status >= 500 or status in RETRIED_STATUSES:
        return DeliveryAction.RETRY
    return DeliveryAction.REFUSED


def find_blame(status: int, body: bytes = b"") -> Blame:
    """What a failure says is wrong."""
    if status in EVENT_STATUSES or find_kind(parse_problem(body)) in EVENT_PROBLEMS:
        return Blame.EVENT
    return Blame.WAY if status in WAY_STATUSES or 300 <= status < 400 else Blame.UNKNOWN


def shorten(text: str, limit: int = 256) -> str:
    """Foreign text for a reason or a log line: one line, bounded, without passwords and tokens."""
    return redact(" ".join(text.split()))[:limit]


def describe_response(status: int, body: bytes) -> str:
    """An answer that isn't a success, as a reason."""
    text = shorten(body[:1024].decode("utf-8", "replace"))
    return f"answered {status}: {text}" if text else f"answered {status}"
