"""Counts of consecutive failures, and the time of the next attempt."""

from __future__ import annotations

from eaves.base.backoff import Backoff
from eaves.base.clock import Clock


class Failures:
    """Counts consecutive failures of a part of the platform; the pauses between attempts grow with the count.

    Attributes:
        count: Number of consecutive failures.
        reason: Reason of the last failure; empty without one.
    """

    def __init__(self, backoff: Backoff, clock: Clock) -> None:
        self.count = 0
        self.reason = ""
        self._backoff = backoff
        self._clock = clock
        self._not_before = 0.0

    def note(self, reason: str) -> float:
        """Count a failure and return the seconds until the next attempt is due."""
        self.count += 1
        self.reason = reason
        pause_s = self._backoff.pause_s(self.count)
        self._not_before = self._clock.monotonic() + pause_s
        return pause_s

    def clear(self) -> None:
        """Set the number of failures to 0 after a success."""
        self.count, self.reason, self._not_before = 0, "", 0.0

    def due(self) -> bool:
        """Return whether the next attempt is due."""
        return not self.reason or self._clock.monotonic() >= self._not_before


def describe_exception(error: Exception) -> str:
    """Return an exception's message for people; its type when the message is empty or can't be read."""
    try:
        return str(error) or type(error).__name__
    except Exception:  # noqa: BLE001 - handling an error must not raise another
        return type(error).__name__
