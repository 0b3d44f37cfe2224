"""What keeps a source from capturing: a spool that accepts no image, and lines of the log that would repeat."""

from __future__ import annotations

from eaves.base.backoff import Backoff
from eaves.base.clock import Clock
from eaves.errors import SpoolError, SpoolFullError
from eaves.sources.context import Frame, Outcome, SourceContext

MAX_LOGGED, LOGGED_S = 20, 3600.0
"""Maximum number of lines of a kind that are logged within this time, seconds: anybody who may write to a folder could
flood the log otherwise."""
REFUSED = Backoff(retry=None, first_s=0.5, cap_s=10.0)
"""Pauses between attempts to store an image in a spool that accepts none."""
UNSUPPORTED = "functions can't read HEIC and AVIF; set the camera or the export to JPEG"


class HourlyLog:
    """Lets a line into the log once an hour, and at most `MAX_LOGGED` lines of a kind. Its caller holds a lock.

    Args:
        clock: Monotonic clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lines: dict[str, set[str]] = {}
        self._since_s = float("-inf")

    def admit(self, kind: str, line: str) -> bool:
        """Return whether a line is logged; there are few kinds."""
        now_s = self._clock.monotonic()
        if now_s - self._since_s >= LOGGED_S:
            self._since_s, self._lines = now_s, {}
        lines = self._lines.setdefault(kind, set())
        if line in lines or len(lines) >= MAX_LOGGED:
            return False
        lines.add(line)
        return True


def explain_refusal(error: SpoolError) -> str:
    """Return the reason that a source reports with the state `paused` for an error of `SourceContext.capture`."""
    goes_on = "until events are delivered" if isinstance(error, SpoolFullError) else "and tries again"
    return f"{error.message}; capture is paused {goes_on}"


def capture_when_possible(context: SourceContext, frame: Frame) -> Outcome | None:
    """Pass a frame to the agent, and wait while the spool accepts none; None when the source must return first."""
    failures = 0
    while not context.stopping:
        try:
            return context.capture(frame)
        except SpoolError as error:
            failures += 1
            context.report("paused", explain_refusal(error))
            context.wait(REFUSED.pause_s(failures))
    return None
