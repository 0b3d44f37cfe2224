"""A clock that stands still until a test turns it."""

import itertools
import threading

from eaves.base.clock import SYSTEM

START = 1_700_000_000.0


class FrozenClock:
    """Implements `eaves.base.clock.Clock`: the date stands still, pauses and deadlines pass as they do."""

    def __init__(self, now: float = START) -> None:
        self._now = now

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return SYSTEM.monotonic()

    def wait(self, condition: threading.Condition, timeout_s: float) -> None:
        SYSTEM.wait(condition, timeout_s)


class ManualClock:
    """Implements `eaves.base.clock.Clock`; time passes only in `turn`."""

    def __init__(self, start: float = START) -> None:
        self._lock = threading.Lock()
        self._start = start
        self._elapsed = 0.0
        self._waiting: dict[int, tuple[float, threading.Condition]] = {}
        self._numbers = itertools.count()

    def now(self) -> float:
        return self._start + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed

    def wait(self, condition: threading.Condition, timeout_s: float) -> None:
        if timeout_s <= 0:
            return
        with self._lock:
            number = next(self._numbers)
            self._waiting[number] = (self._elapsed + timeout_s, condition)
        try:
            condition.wait()
        finally:
            with self._lock:
                del self._waiting[number]

    def turn(self, seconds: float) -> None:
        """Let time pass and wake every waiter whose time is over."""
        with self._lock:
            self._elapsed += seconds
            due = [condition for at, condition in self._waiting.values() if at <= self._elapsed]
        for condition in due:
            with condition:
                condition.notify_all()

    def set_back(self, seconds: float) -> None:
        """Set the wall clock back, as a time server or a flat battery does; pauses don't notice."""
        self._start -= seconds

    @property
    def waiting(self) -> int:
        """How many threads wait for a time that hasn't come."""
        with self._lock:
            return sum(at > self._elapsed for at, _ in self._waiting.values())

    def next_due_s(self) -> float | None:
        """Seconds until the first of those that wait is due; None when nobody waits for a time.

        A thread that was notified and hasn't run since is due now: `notify_all` empties the condition's list of waiters
        at once, and on a busy machine time would pass a hundred times before that thread looks at it.
        """
        with self._lock:
            due = [at - self._elapsed if condition._waiters else 0.0 for at, condition in self._waiting.values()]  # type: ignore[attr-defined]
        return min(due, default=None)
