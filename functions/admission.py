"""Bounded work: so many predictions at once, so many waiting, so many bytes, and a clear no to the rest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
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
        self._lock = threading.Lock()
        self._inside = 0

    @contextmanager
    def queue_slot(self) -> Iterator[None]:
        """Be let in, to wait for a turn or to do what needs none.

        Raises:
            OverloadedError: At once, when the queue is full.
        """
        if not self._places.acquire(blocking=False):
            raise OverloadedError(
                "as many requests as this function takes are waiting already", hint="send again later"
            )
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
        """Wait for a turn; ask for a place first."""
        with self._slots:
            yield

    @property
    def inside(self) -> int:
        """How many have a place."""
        return self._inside


class FetchMemory:
    """Memory for what is fetched, shared by all who fetch: nobody knows how much it is before it is there.

    Args:
        size_bytes: Of all together.
    """

    def __init__(self, size_bytes: int) -> None:
        self._lock = threading.Lock()
        self._left = size_bytes

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """What takes a number of bytes more, until the end.

        Raises:
            OverloadedError: From what is yielded, when there are no more.
        """
        taken = 0

        def take(size_bytes: int) -> None:
            nonlocal taken
            with self._lock:
                if size_bytes > self._left:
                    raise OverloadedError("what is being fetched takes all the memory for it", hint="send again later")
                self._left -= size_bytes
                taken += size_bytes

        try:
            yield take
        finally:
            with self._lock:
                self._left += taken
