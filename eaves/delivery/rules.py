"""What a sender does about an answer, and how long it waits: pure functions and values.

Source: Knative Eventing data plane contract (knative/specs, specs/eventing/data-plane.md), and what its code does where
the contract leaves room (knative/eventing, pkg/kncloudevents/retries.go).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from eaves.events import Event

MAX_RETRY_AFTER_S = 3600.0
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
        retry_after_s: The Retry-After header in seconds, None without one.
        latency_ms: From sending to the last byte.
    """

    status: int
    event: Event | None = None
    body: bytes = b""
    retry_after_s: float | None = None
    latency_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How often, and how long apart.

    Attributes:
        retry: Attempts after the first before an event is dead; None never gives up.
        backoff_s: Pause before the first retry; doubles each time.
        backoff_cap_s: Longest pause, Retry-After apart.
    """

    retry: int | None = 6
    backoff_s: float = 0.5
    backoff_cap_s: float = 30.0

    def exhausted(self, failures: int) -> bool:
        """Whether this many failed attempts are all there are."""
        return self.retry is not None and failures > self.retry

    def pause_s(self, failures: int, *, chance: float, retry_after_s: float | None = None) -> float:
        """How long to wait after so many failed attempts.

        Half of the pause is fixed and half random, so that many senders don't come back together and none comes back at
        once. Retry-After only ever makes it longer, and is itself taken for an hour at most.
        Source: "equal jitter" in Brooker, Exponential Backoff and Jitter (AWS Architecture Blog, 2015).

        Args:
            failures: Failed attempts so far, from 1.
            chance: A random number in [0, 1).
            retry_after_s: What the sink asked for.
        """
        pause_s = min(self.backoff_cap_s, self.backoff_s * 2.0 ** min(failures - 1, 63))
        pause_s *= 0.5 + 0.5 * chance
        return max(pause_s, min(retry_after_s or 0.0, MAX_RETRY_AFTER_S))


def verdict(status: int) -> Verdict:
    """What a sender does about an HTTP status, or about `NO_ANSWER`."""
    if 200 <= status < 300:
        return Verdict.DONE
    if status >= 500 or status in RETRIED_STATUSES:
        return Verdict.RETRY
    return Verdict.REFUSED


def parse_retry_after(text: str | None, now: float) -> float | None:
    """Seconds to wait from a Retry-After header, None when there is none or it is nonsense.

    Source: RFC 9110, section 10.2.3: seconds or an HTTP date.
    """
    text = (text or "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now)


def brief(text: str, limit: int = 256) -> str:
    """Foreign text for a reason or a log line: one line, bounded."""
    return " ".join(text.split())[:limit]


def describe(status: int, body: bytes) -> str:
    """An answer that isn't a success, as a reason."""
    text = brief(body[:1024].decode("utf-8", "replace"))
    return f"answered {status}: {text}" if text else f"answered {status}"
