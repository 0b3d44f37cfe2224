"""Admission of requests: limits of concurrent predictions, of runs of the model, of waiting requests and fetched bytes.

A request beyond a limit is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from eaves.errors import OverloadedError

AHEAD = 1
"""Number of requests that are decoded while all runs of the model are taken. So the next run begins as soon as a run
ends, while the other request's reply is built."""


class Admission:
    """Counting semaphores with a bounded queue, which limit the predictions, the runs and the requests that wait.

    Args:
        concurrency: Maximum number of concurrent runs of the model; `AHEAD` more requests hold a permit.
        queue: Maximum number of requests that wait.
    """

    def __init__(self, *, concurrency: int, queue: int) -> None:
        self._permits = threading.Semaphore(concurrency + AHEAD)
        self._turns = threading.Semaphore(concurrency)
        self._places = threading.Semaphore(concurrency + queue)
        self._lock = threading.Lock()
        self._inside = 0

    @contextmanager
    def queue_slot(self) -> Iterator[None]:
        """Hold a queue slot until the end of the block.

        A request holds it while it waits for a permit, or does work that needs no permit.

        Raises:
            OverloadedError: At once, when the queue is full.
        """
        if not self._places.acquire(blocking=False):
            raise OverloadedError("the function's queue is full", hint="send again later")
        with self._lock:
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
            self._places.release()

    @contextmanager
    def permit(self) -> Iterator[None]:
        """Wait for a permit to make one prediction, and hold it until the end of the block.

        The caller holds a queue slot.
        """
        with self._permits:
            yield

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn to run the model once, and hold it until the end of the block.

        The caller holds a permit.
        """
        with self._turns:
            yield

    @property
    def inside(self) -> int:
        """Number of requests that hold a queue slot."""
        return self._inside


class FetchMemory:
    """Memory budget that all fetches of event data share.

    Fetches draw on it bit by bit, as sizes aren't known in advance.

    Args:
        size_bytes: Size of the budget, bytes.
    """

    def __init__(self, size_bytes: int) -> None:
        self._lock = threading.Lock()
        self._left = size_bytes

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """Return a function that reserves bytes of the budget; all of them are released at the end of the block.

        Raises:
            OverloadedError: From the returned function, when the budget is used up.
        """
        taken = 0

        def take(size_bytes: int) -> None:
            nonlocal taken
            with self._lock:
                if size_bytes > self._left:
                    raise OverloadedError("the limit of memory for fetched data is reached", hint="send again later")
                self._left -= size_bytes
                taken += size_bytes

        try:
            yield take
        finally:
            with self._lock:
                self._left += taken
