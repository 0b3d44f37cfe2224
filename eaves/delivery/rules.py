"""What a sender does about an answer: pure functions and values.

Source: Knative Eventing data plane contract (knative/specs, specs/eventing/data-plane.md), and what its code does where
the contract leaves room (knative/eventing, pkg/kncloudevents/retries.go).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from eaves.events import Event

NO_ANSWER = 0
"""Stands for an HTTP status where there was none."""
ACCEPTED = 202
"""Taken, without a reply: a body that comes with it is never one."""


class Verdict(enum.Enum):
    """What a sender does next."""

    DONE = "done"
    RETRY = "retry"
    REFUSED = "refused"


RETRIED_STATUSES = frozenset({NO_ANSWER, 404, 408, 409, 429})
"""Retried besides 5xx. Source: retries.go, SelectiveRetry; the contract lists the same but for 408."""
SINK_STATUSES = frozenset({NO_ANSWER, 429, 503})
"""Those that tell about the sink rather than the event: any other event would fare the same just now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
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


def verdict(status: int) -> Verdict:
    """What a sender does about an HTTP status, or about `NO_ANSWER`."""
    if 200 <= status < 300:
        return Verdict.DONE
    if status >= 500 or status in RETRIED_STATUSES:
        return Verdict.RETRY
    return Verdict.REFUSED


def brief(text: str, limit: int = 256) -> str:
    """Foreign text for a reason or a log line: one line, bounded."""
    return " ".join(text.split())[:limit]


def describe(status: int, body: bytes) -> str:
    """An answer that isn't a success, as a reason."""
    text = brief(body[:1024].decode("utf-8", "replace"))
    return f"answered {status}: {text}" if text else f"answered {status}"
