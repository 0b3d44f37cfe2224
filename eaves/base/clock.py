"""Time: a clock that tests can control, and timestamps of RFC 3339.

Every part that runs for months takes a `Clock` and uses nothing else to read time or to wait, so that a test can
simulate thirty days in minutes. `SYSTEM` is the real clock.
"""

from __future__ import annotations

import re
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Interface of a clock: reads the time and waits."""

    def now(self) -> float:
        """Return wall-clock time, Unix seconds. It may jump in either direction; use it for people and for files."""

    def monotonic(self) -> float:
        """Return the time of a clock that never goes back, in seconds, for pauses and deadlines within a process."""

    def wait(self, condition: threading.Condition, timeout_s: float) -> None:
        """Wait until `condition`, whose lock the caller holds, is notified or `timeout_s` has passed by this clock.

        The call may return early; the caller checks its condition again, as with any condition variable.
        """


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Return wall-clock time, Unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Return the time of a clock that never goes back, in seconds."""
        return time.monotonic()

    def wait(self, condition: threading.Condition, timeout_s: float) -> None:
        """Wait for a notification, at most `timeout_s` seconds."""
        condition.wait(max(0.0, min(timeout_s, threading.TIMEOUT_MAX)))


SYSTEM: Clock = SystemClock()


class StopFlag:
    """Flag that ends loops: it is set once, and threads wait for it by a clock.

    The flag is only for threads. A signal handler must not set it: the interrupted thread may hold the lock that `set`
    takes.
    """

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._condition = threading.Condition()
        self._set = False

    def set(self) -> None:
        """Set the flag and wake waiting threads."""
        with self._condition:
            self._set = True
            self._condition.notify_all()

    def is_set(self) -> bool:
        """Return whether the flag is set."""
        return self._set

    def wait(self, timeout_s: float) -> bool:
        """Wait until the flag is set or `timeout_s` has passed, and return whether it is set."""
        deadline = self._clock.monotonic() + timeout_s
        with self._condition:
            while not self._set:
                left_s = deadline - self._clock.monotonic()
                if left_s <= 0:
                    break
                self._clock.wait(self._condition, left_s)
            return self._set


_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt](?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
"""Pattern of a timestamp. Source: RFC 3339, section 5.6, `date-time`, a narrow profile of ISO 8601."""


def parse_timestamp(text: str) -> datetime:
    """Parse an RFC 3339 timestamp to the microsecond; further digits are dropped.

    A leap second, which `datetime` can't hold, is parsed as the second after it. It is the last second of a month in
    UTC. `datetime.fromisoformat` alone accepts week dates, times without an offset and other forms of ISO 8601 that
    other receivers of the event refuse.

    Raises:
        ValueError: When the text is not a timestamp, or names a day or time that doesn't exist.
    """
    if not _TIMESTAMP.fullmatch(text):
        raise ValueError(f"not an RFC 3339 timestamp such as 2026-11-24T12:00:00Z (got {text[:40]!r})")
    leap = text[17:19] == "60"
    whole = f"{text[:17]}59{text[19:]}" if leap else text
    try:
        found = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", whole)) + timedelta(seconds=leap)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"not an RFC 3339 timestamp (got {text[:40]!r}): {error}") from error
    if leap and not found.astimezone(UTC).strftime("%d %T").startswith("01 00:00:00"):
        raise ValueError(
            f"not an RFC 3339 timestamp (got {text[:40]!r}): a leap second is allowed only at the end of a month"
        )
    return found
