"""Threads for requests, started when needed: most processes are idle, and each thread costs start time and memory."""

from __future__ import annotations

from typing import Any

from waitress.task import ThreadedTaskDispatcher


class ThreadPool(ThreadedTaskDispatcher):  # type: ignore[misc]
    """A pool with a maximum number of threads and a queue.

    Args:
        most: Maximum number of threads.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def add_task(self, task: Any) -> None:
        """Give a task to an idle thread, to a new one, or to the first that finishes its task."""
        with self.lock:
            self.queue.append(task)
            self.queue_cv.notify()
            idle = len(self.threads) - self.stop_count - self.active_count
            number = len(self.threads)
            if len(self.queue) > idle and number < self._most and not self.stop_count:
                self.threads.add(number)
                self.active_count += 1
                self.start_new_thread(self.handler_thread, number)
