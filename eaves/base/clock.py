"""Time as long-lived parts see it: read, and waited for, through one object that tests can turn.

Whatever runs for months takes a `Clock` and uses nothing else to read time or to wait, so that a test can let thirty
days pass in minutes. `SYSTEM` is the real one.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """A clock."""

    def now(self) -> float:
        """Wall-clock time, Unix seconds. May jump, in either direction: for what people read and what files hold."""

    def monotonic(self) -> float:
        """Seconds that only ever grow: for pauses and deadlines within a process."""

    def wait(self, condition: threading.Condition, timeout_s: float) -> None:
        """Wait until `condition`, whose lock the caller holds, is notified or `timeout_s` has passed by this clock.

        May return early; the caller looks again, as with any condition.
        """


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that only ever grow."""
        return time.monotonic()

    def wait(self, condition: threading.Condition, timeout_s: float) -> None:
        """Wait for a notification, at most so long."""
        condition.wait(max(0.0, min(timeout_s, threading.TIMEOUT_MAX)))


SYSTEM: Clock = SystemClock()


class StopFlag:
    """Ends loops: set once, waited for with a clock.

    For threads. A signal handler must not set it: the thread that it interrupts may hold the lock that `set` takes.
    """

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._condition = threading.Condition()
        self._set = False

    def set(self) -> None:
        """Set it and wake who waits."""
        with self._condition:
            self._set = True
            self._condition.notify_all()

    def is_set(self) -> bool:
        """Whether it was set."""
        return self._set

    def wait(self, timeout_s: float) -> bool:
        """Wait until it is set or `timeout_s` has passed; whether it is set."""
        deadline = self._clock.monotonic() + timeout_s
        with self._condition:
            while not self._set:
                left_s = deadline - self._clock.monotonic()
                if left_s <= 0:
                    break
                self._clock.wait(self._condition, left_s)
            return self._set
