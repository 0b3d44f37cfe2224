"""What keeps a source from capturing: a spool that accepts no image, and a format that no function reads."""

from __future__ import annotations

from eaves.base.backoff import Backoff
from eaves.errors import SpoolError, SpoolFullError
from eaves.sources.context import Frame, Outcome, SourceContext

LOCAL_RETRY = Backoff(retry=None, first_s=0.5, cap_s=10.0)
"""Pauses between attempts at what fails on this machine: a spool that accepts no image, a folder that is missing."""
SERVER_RETRY = Backoff(retry=None, first_s=1.0, cap_s=60.0)
"""Pauses between requests to a server or a bucket that gives no image."""
UNSUPPORTED = "functions can't read HEIC and AVIF; set the camera or the export to JPEG"


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
            context.wait(LOCAL_RETRY.pause_s(failures))
    return None
