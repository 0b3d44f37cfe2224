"""Finding the newest of several events, for retained topics and the states of sensors."""

from __future__ import annotations

from collections import OrderedDict

from eaves.base.clock import SYSTEM, Clock
from eaves.base.timestamps import parse_timestamp
from eaves.events import Event

LATE_S = 60.0
"""Time in seconds after the newest event's arrival during which an older event doesn't replace it. Within this time
deliveries may overtake each other, especially after the broker was unreachable. After it, an older event means that the
camera's clock was set back or that its images are replayed, and does replace the newest one.
"""
MAX_KEYS = 1_000
"""Maximum number of keys that are remembered, about 200 bytes each; the key used longest ago is forgotten first."""


class NewestEvents:
    """The newest event of each key, such as a topic or a camera. Not thread-safe; its caller holds a lock.

    Args:
        clock: Clock for monotonic time.
    """

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def accept(self, key: str, event: Event) -> bool:
        """Remember an event and return True, unless a newer event of its key came within the last minute."""
        time = _parse_time(event)
        now = self._clock.monotonic()
        known = self._known.get(key)
        if known is not None and time is not None and time < known[0] and now - known[1] <= LATE_S:
            return False
        if time is not None:
            self._known[key] = time, now
            self._known.move_to_end(key)
            if len(self._known) > MAX_KEYS:
                self._known.popitem(last=False)
        return True


def _parse_time(event: Event) -> float | None:
    """Return the time of an event in Unix seconds; None when it has none."""
    try:
        return parse_timestamp(event.time).timestamp() if event.time else None
    except ValueError:
        return None
