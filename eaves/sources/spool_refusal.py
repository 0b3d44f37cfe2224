"""While the spool accepts no image: the reason that a source reports, and its pauses between two attempts."""

from __future__ import annotations

from eaves.base.backoff import Backoff
from eaves.errors import SpoolError, SpoolFullError

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
