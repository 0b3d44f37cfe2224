"""Which of several events is the newest, where the last one is kept: on a retained topic, in a sensor's state."""

from __future__ import annotations

from collections import OrderedDict

from eaves.base.clock import SYSTEM, Clock
from eaves.base.timestamps import parse_timestamp
from eaves.events import Event

LATE_S = 60.0
"""For so long after an event, seconds, an older one doesn't replace it: deliveries overtake each other, above all after
the broker was away. Later it does, as the camera's clock was set back or its images are replayed."""
MAX_KEYS = 1_000
"""Keys that are remembered, about 200 bytes each; beyond it the one used longest ago is forgotten."""


class NewestEvents:
    """The newest event of each key. Not safe for threads: its caller holds a lock.

    Args:
        clock: Time.
    """

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def accept(self, key: str, event: Event) -> bool:
        """Remember an event unless a newer one of its key came within the last minute; whether it was remembered."""
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
    """Time of an event, Unix seconds; None when it has none."""
    try:
        return parse_timestamp(event.time).timestamp() if event.time else None
    except ValueError:
        return None
