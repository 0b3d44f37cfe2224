"""Speed of the link: how much the next request holds, and how long it may take."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

MAX_BYTES, MAX_EVENTS = 1_000_000, 1_000
"""Maximum size of a batch before gzip, bytes and events. Reading and packing a batch takes ten times its size in
memory, and a larger one saves next to nothing. Two batches of 1,500 small events took the relay to 51 MB; a receiver
takes 2,000 events (`eaves.link.batch`)."""
FIRST_BYTES = 65_536
MIN_BYTES = 4_096
MIN_MAX_EVENTS = 100
"""Minimum to which `max_events` is lowered when a request was too large. A request of fewer events was too large
because of its bytes, not its number of events."""
TARGET_S = 2.0
"""Maximum time for a request, seconds. An alarm that arrives meanwhile waits that long."""
WINDOW_S = 60.0
ASSUMED_BYTES_PER_S = 8_000.0
"""Assumed speed of a link without measurements, bytes per second: 64 kbit/s."""
SLOWEST_BYTES_PER_S = 1_000.0
ANSWER_S = 10.0
"""Maximum time that the receiver may take to answer once a request has arrived, seconds."""
MARGIN = 4.0
"""Factor by which the link may become slower than measured before a request counts as hanging."""


class BatchSize:
    """Size of the next request with entries of one lane. Not thread-safe.

    Attributes:
        max_bytes: Maximum size of data and attributes, bytes.
        max_events: Maximum number of events.
    """

    def __init__(self) -> None:
        self.max_bytes = FIRST_BYTES
        self.max_events = MAX_EVENTS
        self._largest, self._most = MAX_BYTES, MAX_EVENTS

    def succeeded(self, took_s: float, events: int, size_bytes: int) -> None:
        """Adapt the size after a request that succeeded: grow when it was full and quick, shrink when it was slow.

        The size approaches two seconds per request, because a slow link is idle while an answer is awaited.

        Args:
            took_s: Duration of the request, seconds.
            events: Number of events in the request.
            size_bytes: Size of their data and attributes, bytes.
        """
        if took_s > TARGET_S:
            self.max_bytes = max(MIN_BYTES, int(size_bytes * TARGET_S / took_s))
            return
        if events * 2 > self.max_events:
            self.max_events = min(self._most, events * 2)
        if size_bytes * 2 > self.max_bytes:
            factor = min(2.0, TARGET_S / max(took_s, 0.001))
            self.max_bytes = min(self._largest, max(self.max_bytes, int(size_bytes * factor)))

    def too_large(self, events: int, size_bytes: int) -> None:
        """Lower the maximum size permanently, because the receiver or a proxy refuses requests of this size."""
        self._largest = max(MIN_BYTES, min(self._largest, size_bytes // 2))
        self._most = max(MIN_MAX_EVENTS, min(self._most, events // 2))
        self.failed(events, size_bytes)

    def failed(self, events: int, size_bytes: int) -> None:
        """Halve the size of the next request after a request failed; the minimum is a single event."""
        self.max_events = max(1, events // 2)
        self.max_bytes = max(MIN_BYTES, min(self.max_bytes, size_bytes // 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class ThroughputSample:
    """One request that succeeded.

    Attributes:
        ended_at: When the request ended, on a monotonic clock.
        took_s: Duration with packing, seconds.
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
