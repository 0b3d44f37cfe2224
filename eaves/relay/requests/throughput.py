"""Measured speed of the link, from the requests of the last minute."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WINDOW_S = 60.0
ASSUMED_BYTES_PER_S = 8_000.0
"""Assumed speed of a link without measurements, bytes per second: 64 kbit/s."""
SLOWEST_BYTES_PER_S = 1_000.0
ANSWER_S = 10.0
"""Maximum time that the receiver may take to answer once a request has arrived, seconds."""
MARGIN = 4.0
"""Factor by which the link may become slower than measured before a request counts as hanging."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThroughputSample:
    """One request that succeeded.

    Attributes:
        ended_at: When the request ended, on a monotonic clock.
        took_s: Duration with packing and releasing, seconds.
        events: Number of events in the request.
        stored_bytes: Size of their data and attributes, as the queue counts them.
        wire_bytes: Size of the body as it was sent, bytes.
    """

    ended_at: float
    took_s: float
    events: int
    stored_bytes: int
    wire_bytes: int


class Throughput:
    """Measures the speed of the link while requests are sent; idle time doesn't count. Not thread-safe."""

    def __init__(self) -> None:
        self._samples: deque[ThroughputSample] = deque()
        self._best = ASSUMED_BYTES_PER_S

    def add(self, sample: ThroughputSample) -> None:
        """Add a request that succeeded, and forget those older than a minute."""
        self._samples.append(sample)
        while self._samples[0].ended_at < sample.ended_at - WINDOW_S:
            self._samples.popleft()
        self._best = max(one.wire_bytes / max(one.took_s, 1e-3) for one in self._samples)

    def stalled(self) -> None:
        """Lower the assumed speed of the link, because a request got no answer."""
        self._best = max(SLOWEST_BYTES_PER_S, self._best / MARGIN)

    def limit_s(self, wire_bytes: int) -> float:
        """Return the time after which a request of so many bytes counts as unanswered, seconds."""
        return ANSWER_S + MARGIN * wire_bytes / max(SLOWEST_BYTES_PER_S, self._best)

    def rates(self) -> tuple[float, float, float] | None:
        """Return events, stored bytes and bytes on the wire per second; None before the first request."""
        busy_s = sum(one.took_s for one in self._samples)
        if busy_s <= 0:
            return None
        return (
            sum(one.events for one in self._samples) / busy_s,
            sum(one.stored_bytes for one in self._samples) / busy_s,
            sum(one.wire_bytes for one in self._samples) / busy_s,
        )
