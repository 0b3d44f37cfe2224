"""Threads that do what they are handed, made when they are first needed and kept."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Workers(Generic[T]):
    """At most `size` daemon threads that each do one piece of work at a time.

    Not concurrent.futures' pool: that one waits at the interpreter's end for threads that hang in a request.

    Args:
        name: Of the threads.
        size: Most threads.
        work: Does one piece; must not raise.
    """

    def __init__(self, name: str, size: int, work: Callable[[T], None]) -> None:
        self._name = name
        self._size = size
        self._work = work
        self._queue: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []

    def submit(self, piece: T) -> None:
        """Hand over one piece. For one thread; never more than `size` pieces are under way.

        Raises:
            RuntimeError: When the system gives no thread for it; the piece isn't taken.
        """
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._size:
            thread = threading.Thread(target=self._run, name=f"{self._name}-{len(self._threads)}", daemon=True)
            thread.start()
            self._threads.append(thread)
        self._queue.put(piece)

    def stop(self, timeout_s: float) -> bool:
        """End the threads once their work is done; False when one still works after `timeout_s`."""
        for _ in self._threads:
            self._queue.put(None)
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        while (piece := self._queue.get()) is not None:
            self._work(piece)
            self._idle.release()
