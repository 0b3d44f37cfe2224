"""What keeps a source from capturing: a spool that accepts no image, a server that gives none, an unknown format."""

from __future__ import annotations

import random
from collections.abc import Callable

from eaves.base.backoff import Backoff
from eaves.errors import EavesError, SpoolError, SpoolFullError
from eaves.sources.context import Frame, Outcome, SourceContext

LOCAL_RETRY = Backoff(retry=None, first_s=0.5, cap_s=10.0)
"""Pauses between attempts at what fails on this machine: a spool that accepts no image, a folder that is missing."""
SERVER_RETRY = Backoff(retry=None, first_s=1.0, cap_s=60.0)
"""Pauses between requests to a server or a bucket that gives no image."""
POLL_S = 2.0
"""Interval at which `repeat` checks for new credentials while a server gives no image, seconds."""
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


def repeat(
    context: SourceContext,
    step: Callable[[], float],
    unavailable: tuple[type[EavesError], ...],
    *,
    retry: Backoff = SERVER_RETRY,
    min_pause_s: float = 0.0,
    is_changed: Callable[[], bool] = lambda: False,
) -> None:
    """Repeat a step until the source must return, with growing pauses while its server gives no image.

    Args:
        context: Interface to the agent.
        step: Requests images and captures them; returns the seconds until the next step.
        unavailable: Errors that say why there is no image; one may have an attribute `retry_after_s`.
        retry: Pauses after errors.
        min_pause_s: Minimum pause after an error, seconds.
        is_changed: Returns whether a pause must end because the credentials have changed.
    """
    expected: tuple[type[EavesError], ...] = (SpoolError, *unavailable)
    failures, lost = 0, False
    while not context.stopping:
        try:
            pause_s = step()
        except expected as error:
            if context.stopping:
                return
            failures += 1
            if isinstance(error, SpoolError):
                context.report("paused", explain_refusal(error))
            else:
                lost = True
                context.report("waiting", error.message)
            asked_s = getattr(error, "retry_after_s", None)
            pause_s = retry.pause_s(failures, jitter=random.random(), retry_after_s=asked_s)  # noqa: S311
            until = context.clock.monotonic() + max(min_pause_s, pause_s)
            while (left_s := until - context.clock.monotonic()) > 0 and context.wait(min(left_s, POLL_S)):
                if is_changed():
                    break
        else:
            if lost:
                context.reconnected()
            failures, lost = 0, False
            context.wait(pause_s)
