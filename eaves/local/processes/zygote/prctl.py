"""Calls of prctl(2), which Python's standard library doesn't offer."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
"""Source: linux/prctl.h."""


def set_parent_death_signal(number: int) -> None:
    """Let the kernel send a signal to this process when the thread that is its parent ends.

    Raises:
        OSError: When the kernel refuses.
    """
    _call(_PR_SET_PDEATHSIG, number)


@contextmanager
def adopt_orphans() -> Iterator[None]:
    """Within the block, descendants whose parent ends become children of this process.

    Source: prctl(2), PR_SET_CHILD_SUBREAPER.

    Raises:
        OSError: When the kernel refuses.
    """
    _call(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        _call(_PR_SET_CHILD_SUBREAPER, 0)


def _call(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
