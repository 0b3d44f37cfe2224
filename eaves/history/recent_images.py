"""The newest images of a platform, held in memory so that the console can show them.

Nothing is copied, decoded or written to disk: the broker has the event's bytes in memory when it accepts the event, and
they are kept from being freed.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from eaves.events import Event

MAX_BYTES = 16_000_000
"""Default limit of the images' size in memory, bytes: about 100 JPEGs of a usual camera."""
OVERHEAD_BYTES = 1_500
"""Memory of one event besides its data and extensions, bytes, so that many tiny images can't take more memory than the
limit says: the event, its attributes and the entry of the dict."""

Identity = tuple[str, str]
"""Source and id of the event that captured an image."""


class RecentImages:
    """The newest image events within a limit of bytes; several threads may use it.

    The oldest images are dropped first. The newest image of each source is dropped only when no other image is left, so
    that a source that captures once an hour stays visible beside one that captures ten times a second.

    Args:
        max_bytes: Limit of the images' size in memory, bytes; an image that is larger than the limit isn't held.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._older: OrderedDict[Identity, Event] = OrderedDict()
        self._newest: OrderedDict[str, Event] = OrderedDict()
        self._bytes = 0

    def add(self, event: Event) -> None:
        """Hold an event if it has an image; other events, and one that is held already, are ignored."""
        if not (event.data and event.is_image):
            return
        size = measure(event)
        with self._lock:
            if size > self._max_bytes or self._find(event.source, event.id) is not None:
                return
            if (before := self._newest.pop(event.source, None)) is not None:
                self._older[before.source, before.id] = before
            self._newest[event.source] = event  # at the end, as the source that captured last
            self._bytes += size
            while self._bytes > self._max_bytes:
                _, dropped = (self._older or self._newest).popitem(last=False)
                self._bytes -= measure(dropped)

    def find(self, source: str, event_id: str) -> Event | None:
        """Return the event with this identity; None when it isn't held."""
        with self._lock:
            return self._find(source, event_id)

    def _find(self, source: str, event_id: str) -> Event | None:
        newest = self._newest.get(source)
        return newest if newest is not None and newest.id == event_id else self._older.get((source, event_id))


def measure(event: Event) -> int:
    """Return the memory that holding an event takes, bytes."""
    texts = len(event.id) + len(event.source) + len(event.subject or "")
    extensions = sum(len(name) + len(value) for name, value in event.extensions.items())
    return OVERHEAD_BYTES + len(event.data) + texts + extensions
