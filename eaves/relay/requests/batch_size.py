"""Size of the next request, chosen to take about two seconds on the link."""

from __future__ import annotations

MAX_BYTES, MAX_EVENTS = 1_000_000, 1_000
"""Maximum size of a batch before gzip, bytes and events. Reading and packing a batch takes ten times its size in
memory, and a larger one saves next to nothing. Two batches of 1,500 small events took the relay to 51 MB; a receiver
takes 2,000 events (`eaves.link.batch`)."""
FIRST_BYTES = 65_536
MIN_BYTES = 4_096
LEAST_MOST = 100
"""Minimum to which `max_events` is lowered when a request was too large. A request of fewer events was too large
because of its bytes, not its number of events."""
TARGET_S = 2.0
"""Maximum time for a request, seconds. An alarm that arrives meanwhile waits that long."""


class BatchSize:
    """Size of the next request with entries of one lane. Not thread-safe.

    Attributes:
        max_bytes: Maximum size of data and attributes, bytes.
        max_events: Maximum number of events.
        is_quick: Whether the last request took at most half of `TARGET_S`. Two requests may then be in progress at
            once, because both together stay within that time.
    """

    def __init__(self) -> None:
        self.max_bytes = FIRST_BYTES
        self.max_events = MAX_EVENTS
        self.is_quick = False
        self._largest, self._most = MAX_BYTES, MAX_EVENTS

    def succeeded(self, took_s: float, events: int, size_bytes: int) -> None:
        """Adapt the size after a request that succeeded: grow when it was full and quick, shrink when it was slow.

        The size approaches two seconds per request, because a slow link is idle while an answer is awaited.

        Args:
            took_s: Duration of the request, seconds.
            events: Number of events in the request.
            size_bytes: Size of their data and attributes, bytes.
        """
        self.is_quick = took_s <= TARGET_S / 2
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
        self._most = max(LEAST_MOST, min(self._most, events // 2))
        self.failed(events, size_bytes)

    def failed(self, events: int, size_bytes: int) -> None:
        """Halve the size of the next request after a request failed; the minimum is a single event."""
        self.is_quick = False
        self.max_events = max(1, events // 2)
        self.max_bytes = max(MIN_BYTES, min(self.max_bytes, size_bytes // 2))
