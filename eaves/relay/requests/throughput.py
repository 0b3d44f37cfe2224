"""How fast the link was, from the requests of the last minute in which something was sent."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WINDOW_S = 60.0
ASSUMED_BYTES_PER_S = 8_000.0
"""What a link of which nothing is known is held to carry: 64 kbit/s."""
SLOWEST_BYTES_PER_S = 1_000.0
ANSWER_S = 10.0
"""How long an answer may take once a request has arrived, seconds."""
MARGIN = 4.0
"""How much slower than before a link may be before a request is held to hang."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThroughputSample:
    """One request that got through.

    Attributes:
        ended_at: When, on a monotonic clock.
        took_s: How long it took with everything around it, seconds.
        events: How many were in it.
        stored_bytes: Their data and attributes, as the queue counts them.
        wire_bytes: The body as it was sent.
    """

    ended_at: float
    took_s: float
    events: int
    stored_bytes: int
    wire_bytes: int


class Throughput:
    """Rates while something is sent; the time in which nothing was to be sent doesn't count. Not safe for threads."""

    def __init__(self) -> None:
        self._samples: deque[ThroughputSample] = deque()
        self._best = ASSUMED_BYTES_PER_S

    def add(self, sample: ThroughputSample) -> None:
        """Count a request that got through, and forget those before the last minute."""
        self._samples.append(sample)
        while self._samples[0].ended_at < sample.ended_at - WINDOW_S:
            self._samples.popleft()
        self._best = max(one.wire_bytes / max(one.took_s, 1e-3) for one in self._samples)

    def stalled(self) -> None:
        """A request got no answer: the link is held to be slower than it was."""
        self._best = max(SLOWEST_BYTES_PER_S, self._best / MARGIN)

    def limit_s(self, wire_bytes: int) -> float:
        """How long a request of so many bytes may take before the link is held to be silent, seconds."""
        return ANSWER_S + MARGIN * wire_bytes / max(SLOWEST_BYTES_PER_S, self._best)

    def rates(self) -> tuple[float, float, float] | None:
        """Events, stored bytes and bytes on the wire a second; None before the first request."""
        busy_s = sum(one.took_s for one in self._samples)
        if busy_s <= 0:
            return None
        return (
            sum(one.events for one in self._samples) / busy_s,
            sum(one.stored_bytes for one in self._samples) / busy_s,
            sum(one.wire_bytes for one in self._samples) / busy_s,
        )
