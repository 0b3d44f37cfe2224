"""Pool of worker threads, each of which is started when it is first needed and then kept."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Workers(Generic[T]):
    """At most `size` daemon threads that each process one item at a time.

    The pool of concurrent.futures isn't used, because at the interpreter's end it waits for threads that hang in a
    request.

    Args:
        name: Prefix of the threads' names.
        size: Maximum number of threads.
        work: Function that processes one item; it must not raise.
    """

    def __init__(self, name: str, size: int, work: Callable[[T], None]) -> None:
        self._name = name
        self._size = size
        self._work = work
        self._queue: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []

    def submit(self, piece: T) -> None:
        """Hand over one item. Only one thread may call this, and at most `size` items may be in progress.

        Raises:
            RuntimeError: When the system can't start a thread for the item, which then isn't processed.
        """
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._size:
            thread = threading.Thread(target=self._run, name=f"{self._name}-{len(self._threads)}", daemon=True)
            thread.start()
            self._threads.append(thread)
        self._queue.put(piece)

    def stop(self, timeout_s: float) -> bool:
        """End the threads when their work is done; return False when one still works after `timeout_s` seconds."""
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
