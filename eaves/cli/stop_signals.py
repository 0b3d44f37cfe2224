"""Handling of Ctrl-C and SIGTERM by commands that run in the foreground or that must clean up first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue

from eaves.errors import CancelledError

POLL_S = 1.0
"""Interval at which `StopSignals.wait` checks for a signal that reached another thread, seconds."""


class StopSignals:
    """Takes SIGINT and SIGTERM from its creation on, and passes them to `call` or `wait` instead of ending the process.

    A signal handler runs in the main thread, between any two of its steps. A lock that the handler takes may be held by
    the main thread then, and would never be released. So the handlers only put the signal into a queue, which another
    thread reads.
    Source: the standard library's `queue.SimpleQueue.put`, which is reentrant and so may be called in a handler.
    """

    def __init__(self) -> None:
        self._asked: SimpleQueue[int] = SimpleQueue()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: self._asked.put(number))

    def wait(self) -> None:
        """Wait until a signal has come, in the main thread.

        It also checks once a second, because the kernel may deliver a signal to another thread, which doesn't wake the
        main thread.
        """
        while True:
            with suppress(Empty):
                self._asked.get(timeout=POLL_S)
                return

    def call(self, stop: Callable[[], None]) -> None:
        """Start a thread that calls `stop` when a signal has come."""

        def wait() -> None:
            self._asked.get()
            stop()

        threading.Thread(target=wait, name="signals", daemon=True).start()


@contextmanager
def cancelled_by_ctrl_c(message: str) -> Iterator[None]:
    """Turn Ctrl-C within the block into an error.

    Args:
        message: Message of the error: what was stopped, and what is left of it.

    Raises:
        CancelledError: On Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise CancelledError(message) from None
