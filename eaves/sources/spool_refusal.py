"""While the spool accepts no image: the reason that a source reports, and its pauses between two attempts."""

from __future__ import annotations

from collections.abc import Callable

from eaves.base.backoff import Backoff
from eaves.errors import SpoolError, SpoolFullError
from eaves.sources.context import SourceContext
from eaves.sources.frame import Frame, Outcome

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


def capture_when_possible(
    context: SourceContext, frame: Frame, waited: Callable[[], None] = lambda: None
) -> Outcome | None:
    """Pass a frame to the agent, and wait while the spool accepts none; None when the source must return first.

    Args:
        context: Interface to the agent.
        frame: Frame to capture.
        waited: Called after each pause.
    """
    failures = 0
    while not context.stopping:
        try:
            return context.capture(frame)
        except SpoolError as error:
            failures += 1
            context.report("paused", explain_refusal(error))
            if context.wait(REFUSED.pause_s(failures)):
                waited()
    return None
