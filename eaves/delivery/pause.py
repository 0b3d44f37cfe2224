"""The pause of one lane: how long nothing is tried while the way to the receiver is held to be broken, and why."""

from __future__ import annotations

import logging
from collections.abc import Callable

from eaves.base.backoff import Backoff
from eaves.base.clock import Clock

_log = logging.getLogger(__name__)


class Pause:
    """Failures in a row, and the pause that they make. Not safe for threads: its caller holds a lock.

    Args:
        lane: Its name, for the log.
        backoff: How pauses grow.
        clock: Time.
        jitter: Random numbers in [0, 1).

    Attributes:
        active: Whether the way is held to be broken: from a failure that says so until something gets through.
        failures: Failures in a row.
        since: Since when it is active, Unix seconds.
        reason: Why.
        status: HTTP status of the last failure, 0 without an answer.
    """

    def __init__(self, lane: str, backoff: Backoff, clock: Clock, jitter: Callable[[], float]) -> None:
        self._lane = lane
        self._backoff = backoff
        self._clock = clock
        self._jitter = jitter
        self._until = float("-inf")
        self.active = False
        self.failures = 0
        self.since = 0.0
        self.reason = ""
        self.status = 0

    def left_s(self) -> float:
        """Seconds until the next attempt may be made; 0 when it may."""
        return max(0.0, self._until - self._clock.monotonic())

    def fail(self, reason: str, status: int, *, at_least_s: float | None = None, lenient: bool = False) -> None:
        """Make the pause longer. Attempts that were already in flight and fail too don't.

        Args:
            reason: Why.
            status: HTTP status, 0 without an answer.
            at_least_s: Shortest pause.
            lenient: The first failure in a row makes no pause yet.
        """
        if self.left_s() <= 0:
            self.failures += 1
        if lenient and self.failures == 1 and not at_least_s:
            return
        pause_s = self._backoff.pause_s(self.failures, jitter=self._jitter(), retry_after_s=at_least_s)
        self._until = max(self._until, self._clock.monotonic() + pause_s)
        if not self.active:
            self.since = self._clock.now()
        if not self.active or (reason, status) != (self.reason, self.status):
            _log.warning("queue %s is paused, nothing is lost: %s", self._lane, reason)
        self.active, self.reason, self.status = True, reason, status

    def cut_short(self) -> None:
        """Let the next attempt be made now. It decides whether the pause goes on."""
        self._until = float("-inf")

    def end(self) -> None:
        """The receiver has answered, so the way works; or nothing is left to try."""
        if self.active:
            _log.info("queue %s isn't paused any more", self._lane)
        self.active, self.failures = False, 0
        self._until = float("-inf")
