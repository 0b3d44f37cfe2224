"""What keeps a source from capturing: a spool that accepts no image, and images with faults."""

from __future__ import annotations

import logging

from eaves.base.backoff import Backoff
from eaves.errors import SpoolError, SpoolFullError
from eaves.sources.context import SourceContext
from eaves.sources.frame import Cause, Frame, Outcome

MAX_REPORTED = 10_000
"""Maximum number of faults that are remembered. Beyond that number, all are forgotten and reported again."""
MAX_LOGGED, LOGGED_S = 20, 3600.0
"""Maximum number of faults that are logged within this time, seconds: anybody who may write to a folder or bucket could
flood the log otherwise."""

_log = logging.getLogger(__name__)


class ImageFaults:
    """Counts and logs the faults of one source's images. For one thread only.

    Args:
        context: Interface to the agent.
    """

    def __init__(self, context: SourceContext) -> None:
        self._context = context
        self._reported: set[str] = set()
        self._logged, self._logged_since_s = 0, float("-inf")

    def report(self, cause: Cause, key: str, message: str, error: Exception | None = None) -> None:
        """Count and log a fault unless the same was reported before."""
        if key in self._reported:
            return
        if len(self._reported) >= MAX_REPORTED:
            self._reported.clear()
        self._reported.add(key)
        self._context.drop(cause)
        now_s = self._context.clock.monotonic()
        if now_s - self._logged_since_s >= LOGGED_S:
            self._logged, self._logged_since_s = 0, now_s
        self._logged += 1
        if self._logged <= MAX_LOGGED:
            further = "; further ones are counted, and not logged for an hour" if self._logged == MAX_LOGGED else ""
            _log.error("not captured: %s%s", message, further, exc_info=error)

    def report_unsupported(self, key: str, name: str) -> None:
        """Count and log an image in a format that no function reads."""
        message = f"{name[:256]}: functions can't read HEIC and AVIF; set the camera or the export to JPEG"
        self.report("unsupported", f"{key}//", message)


REFUSED = Backoff(retry=None, first_s=0.5, cap_s=10.0)
"""Pauses between attempts to store an image in a spool that accepts none."""


def explain_refusal(error: SpoolError) -> str:
    """Return the reason that a source reports with the state `paused`.

    Args:
        error: Error that `SourceContext.capture` raised.
    """
    if isinstance(error, SpoolFullError):
        return f"{error.message}; capture is paused until events are delivered"
    return f"{error.message}; capture is paused and tries again"


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
