"""The loop of a live view, which ends with exit code 0 on Ctrl-C and when stdout has no reader."""

from __future__ import annotations

import io
import os
import select
import sys
import time
from collections.abc import Callable


def repeat(step: Callable[[], None], *, every_s: float, first: Callable[[], None] | None = None) -> None:
    """Call a function at once and then after each pause, until Ctrl-C or until stdout has no reader.

    Args:
        step: Function that is called; it prints new output, if there is any.
        every_s: Pause between two calls, seconds.
        first: Function that is called once before `step`.
    """
    try:
        if first is not None:
            first()
        while True:
            step()
            sys.stdout.flush()
            if wait_for_closed_stdout(every_s):
                return
    except KeyboardInterrupt:
        return
    except BrokenPipeError:
        _discard_stdout()


def wait_for_closed_stdout(timeout_s: float) -> bool:
    """Wait, and return early when stdout has no reader any more.

    Without this check, a view without a reader would run until it prints its next line, which may never come.
    Source: poll(2), POLLERR of a pipe without readers and POLLHUP of a terminal that has gone.

    Args:
        timeout_s: Seconds to wait.

    Returns:
        Whether stdout has no reader.
    """
    try:
        number = sys.stdout.fileno()
    except (io.UnsupportedOperation, ValueError, AttributeError):
        time.sleep(timeout_s)
        return False
    poll = select.poll()
    poll.register(number, 0)
    return bool(poll.poll(timeout_s * 1000))


def _discard_stdout() -> None:
    """Redirect stdout to /dev/null, so that its flush at exit doesn't fail and print a warning."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
