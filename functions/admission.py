"""Bounded work: so many predictions at once, so many waiting, and a clear no to the rest."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from eaves.errors import OverloadedError


class Admission:
    """A counting gate with a bounded queue.

    Args:
        concurrency: How many may be inside.
        queue: How many may wait.
    """

    def __init__(self, *, concurrency: int, queue: int) -> None:
        self._slots = threading.Semaphore(concurrency)
        self._places = threading.Semaphore(concurrency + queue)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait for a turn.

        Raises:
            OverloadedError: At once, when the queue is full.
        """
        if not self._places.acquire(blocking=False):
            raise OverloadedError(
                "as many requests as this function takes are waiting already", hint="send again later"
            )
        try:
            with self._slots:
                yield
        finally:
            self._places.release()
