"""How much goes into one request: about as much as the link carries in two seconds."""

from __future__ import annotations

MAX_BYTES, MAX_EVENTS = 1_000_000, 1_000
"""Largest batch, before gzip: it takes ten times as much memory while it is read and packed, and a larger one saves
next to nothing. Two of 1,500 small events took the relay to 51 MB; a receiver takes 2,000 (`eaves.link.batch`)."""
FIRST_BYTES = 65_536
MIN_BYTES = 4_096
LEAST_MOST = 100
"""Events that a request may always hold again after it was too large: fewer were too large for their bytes."""
TARGET_S = 2.0
"""How long a request may take. An alarm that comes in meanwhile waits so long."""


class BatchSize:
    """The size of the next request of one class. Not safe for threads.

    Attributes:
        max_bytes: Most bytes of data and attributes.
        max_events: Most events.
        is_quick: Whether the last request took half as long as one may, so that the next one may be on its way beside
            it: both together take no longer than one may.
    """

    def __init__(self) -> None:
        self.max_bytes = FIRST_BYTES
        self.max_events = MAX_EVENTS
        self.is_quick = False
        self._largest, self._most = MAX_BYTES, MAX_EVENTS

    def succeeded(self, took_s: float, events: int, size_bytes: int) -> None:
        """A request got through: the next one is larger when this one was full and quick, smaller when it was slow.

        It comes near to the two seconds, as the time in which an answer is waited for is lost to a slow link.

        Args:
            took_s: How long it took, seconds.
            events: How many were in it.
            size_bytes: Their data and attributes.
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
        """The receiver, or a proxy before it, takes no request of this size: none is made so large again."""
        self._largest = max(MIN_BYTES, min(self._largest, size_bytes // 2))
        self._most = max(LEAST_MOST, min(self._most, events // 2))
        self.failed(events, size_bytes)

    def failed(self, events: int, size_bytes: int) -> None:
        """A request did not get through: the next one has half as much, down to a single event."""
        self.is_quick = False
        self.max_events = max(1, events // 2)
        self.max_bytes = max(MIN_BYTES, min(self.max_bytes, size_bytes // 2))
