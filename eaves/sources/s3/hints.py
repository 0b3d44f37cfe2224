"""Keys that notifications name, until the source looks at them."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from eaves.base.clock import SYSTEM, Clock

MAX_HINTS = 10_000
"""Maximum number of keys that wait, which take about 2 MB of memory. The next pass over the bucket finds the objects of
keys for which there is no room."""


class Hints:
    """Keys that wait, each once. Any thread may use every member.

    Args:
        clock: Clock to wait by.
        limit: Maximum number of keys that wait.
    """

    def __init__(self, clock: Clock = SYSTEM, limit: int = MAX_HINTS) -> None:
        self._clock = clock
        self._limit = limit
        self._keys: dict[str, None] = {}
        self._overflowed = False
        self._woken = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """Return how many keys wait."""
        return len(self._keys)

    def offer(self, keys: Iterable[str]) -> None:
        """Add keys, and wake the source."""
        with self._changed:
            for key in keys:
                if len(self._keys) < self._limit:
                    self._keys[key] = None
                else:
                    self._overflowed = True
            self._changed.notify_all()

    def take(self) -> str | None:
        """Remove the key that has waited longest and return it; None when none waits."""
        with self._changed:
            key = next(iter(self._keys), None)
            if key is not None:
                del self._keys[key]
            return key

    def take_overflow(self) -> bool:
        """Return whether a key found no room since the last call."""
        with self._changed:
            overflowed, self._overflowed = self._overflowed, False
            return overflowed

    def wake(self) -> None:
        """End a wait, now or the next one."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Wait until a key is offered, `wake` is called, or the time is over."""
        deadline = self._clock.monotonic() + seconds
        with self._changed:
            while not self._keys and not self._woken and (left_s := deadline - self._clock.monotonic()) > 0:
                self._clock.wait(self._changed, left_s)
            self._woken = False
