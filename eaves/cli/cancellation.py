"""Ctrl-C as an error with a sentence, where nothing goes on from what was begun."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from eaves.errors import CancelledError


@contextmanager
def cancelled_by_ctrl_c(message: str) -> Iterator[None]:
    """Turn Ctrl-C within the block into an error.

    Args:
        message: What was stopped and what is left of it, a sentence.

    Raises:
        CancelledError: On Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise CancelledError(message) from None
