"""What a camera source says about its outages: the state's reason, and log lines that don't fill a disk."""

from __future__ import annotations

import logging
from collections import Counter

from eaves.sources.context import SourceContext

REASON_S = 3600.0
"""Minimum time until a reason is logged again during one outage, seconds. Two reasons that take turns, such as `no
answer` and `connection refused`, would otherwise write a line to the log at each attempt: 1,440 a day."""
MAX_REASONS = 16
"""Maximum number of reasons that are remembered."""
HOUR_S = 3600.0

_log = logging.getLogger(__name__)


class OutageReport:
    """Reports why a source has no stream.

    Args:
        context: Interface to the agent.
    """

    def __init__(self, context: SourceContext) -> None:
        self._context = context
        self._reported_s: dict[str, float] = {}
        self._logged_s: dict[str, float] = {}
        self._counts: Counter[str] = Counter()
        self._lines: dict[str, tuple[float, int]] = {}
        self._logs = True
        self.reason = ""

    def waiting(self, reason: str) -> None:
        """Report a reason, and log it unless it was reported within the last hour of the same outage.

        A camera that breaks off every 11 seconds has thousands of outages a day, so the log gets a line for the same
        reason once an hour. It says how many there were; `eaves status` has each one.
        """
        self.reason = reason
        now_s, reported = self._context.clock.monotonic(), self._reported_s
        last_s = max(reported.values(), default=now_s - REASON_S) if len(reported) >= MAX_REASONS else now_s - REASON_S
        if now_s - reported.get(reason, last_s) < REASON_S:
            self._context.report("waiting", reason, log=False)  # another one may have been reported since
            return
        if len(reported) >= MAX_REASONS:
            del reported[min(reported, key=reported.__getitem__)]
        reported[reason] = now_s
        repeats = self._count_line(reason, now_s)
        self._logs = repeats is not None
        if repeats:
            reason += f" ({repeats} more times since the last such line)"
        self._context.report("waiting", reason, log=self._logs)

    def watching(self) -> None:
        """Report that frames come; in the log only when the outage was."""
        self._context.report("watching", log=self._logs)
        self._logs = True

    def _count_line(self, reason: str, now_s: float) -> int | None:
        """Return how many outages of this reason had no line since the last line; None when this one has none."""
        lines = self._lines
        logged_s, repeats = lines.get(reason, (now_s - HOUR_S, 0))
        if now_s - logged_s < HOUR_S:
            lines[reason] = logged_s, repeats + 1
            return None
        if len(lines) >= MAX_REASONS and reason not in lines:
            del lines[min(lines, key=lambda one: lines[one][0])]
        lines[reason] = now_s, 0
        return repeats

    def repeat(self) -> None:
        """Report the last reason again, after another state."""
        self._context.report("waiting", self.reason)

    def end(self) -> None:
        """Note the end of the outage, so that the reasons of the next one are logged at once."""
        self._reported_s.clear()

    def log_hourly(self, kind: str, message: str, details: str = "") -> None:
        """Log an error that may happen often: at most once an hour for each kind, with its number so far."""
        now_s = self._context.clock.monotonic()
        self._counts[kind] += 1
        if now_s - self._logged_s.get(kind, now_s - HOUR_S) >= HOUR_S:
            self._logged_s[kind] = now_s
            _log.error(
                "source %s: %s (%d times since the start)%s", self._context.name, message, self._counts[kind], details
            )
