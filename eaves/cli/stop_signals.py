"""Ctrl-C and SIGTERM: as an error with a sentence, or as what asks a command in the foreground to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue

from eaves.errors import CancelledError

POLL_S = 1.0
"""How often `StopSignals.wait` lets handlers run that nothing else has run, seconds."""


class StopSignals:
    """From now on SIGINT and SIGTERM end nothing by themselves: `call` or `wait` learns of them, whenever they came.

    A handler runs in the main thread, between any two of its steps: a lock that it takes may be held right there, and
    would never be released. So the handlers only note the signal, and a thread of its own does the rest.
    Source: the standard library's `queue.SimpleQueue.put`, which is reentrant and so may be called in a handler.
    """

    def __init__(self) -> None:
        self._asked: SimpleQueue[int] = SimpleQueue()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: self._asked.put(number))

    def wait(self) -> None:
        """Wait until a signal has come, in the main thread.

        It looks for one once a second as well: the kernel may deliver a signal to another thread, which wakes nobody.
        """
        while True:
            with suppress(Empty):
                self._asked.get(timeout=POLL_S)
                return

    def call(self, stop: Callable[[], None]) -> None:
        """Have `stop` called by a thread of its own once a signal has come."""

        def wait() -> None:
            self._asked.get()
            stop()

        threading.Thread(target=wait, name="signals", daemon=True).start()


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
