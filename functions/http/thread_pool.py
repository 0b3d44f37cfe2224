"""Threads that answer, made when they are needed: most processes are idle, and each thread costs start and memory."""

from __future__ import annotations

from typing import Any

from waitress.task import ThreadedTaskDispatcher


class ThreadPool(ThreadedTaskDispatcher):  # type: ignore[misc]
    """At most so many threads, and a queue before them.

    Args:
        most: Threads.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def add_task(self, task: Any) -> None:
        """Give a task to an idle thread, to a new one, or to the first that ends its own."""
        with self.lock:
            self.queue.append(task)
            self.queue_cv.notify()
            idle = len(self.threads) - self.stop_count - self.active_count
            number = len(self.threads)
            if len(self.queue) > idle and number < self._most and not self.stop_count:
                self.threads.add(number)
                self.active_count += 1
                self.start_new_thread(self.handler_thread, number)
