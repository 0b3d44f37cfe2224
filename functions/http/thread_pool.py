"""Pool of threads for requests.

A thread is started only when it is needed, since most processes are idle and each thread costs time and memory.
"""

from __future__ import annotations

from typing import Any

from waitress.task import ThreadedTaskDispatcher


class ThreadPool(ThreadedTaskDispatcher):  # type: ignore[misc]
    """A thread pool with a maximum number of threads and a queue of tasks.

    Args:
        most: Maximum number of threads.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def add_task(self, task: Any) -> None:
        """Give a task to an idle thread or a new one, or queue it for the first thread that finishes its task."""
        with self.lock:
            self.queue.append(task)
            self.queue_cv.notify()
            idle = len(self.threads) - self.stop_count - self.active_count
            number = len(self.threads)
            if len(self.queue) > idle and number < self._most and not self.stop_count:
                self.threads.add(number)
                self.active_count += 1
                self.start_new_thread(self.handler_thread, number)
