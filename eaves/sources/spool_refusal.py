"""Wording of the reason that a source reports while the spool accepts no image."""

from __future__ import annotations

from eaves.errors import SpoolError, SpoolFullError


def explain_refusal(error: SpoolError) -> str:
    """Return the reason that a source reports with the state `paused`.

    Args:
        error: Error that `SourceContext.capture` raised.
    """
    if isinstance(error, SpoolFullError):
        return f"{error.message}; capture is paused until events are delivered"
    return f"{error.message}; capture is paused and tries again"
