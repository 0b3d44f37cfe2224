"""Answers of a platform that pages share: kept for some seconds, however many pages ask.

A queue may be behind `kubectl exec` or belong to an agent that hangs. Such a queue must not delay the others, and many
open pages must not ask it more often than one page does.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from eaves.admin import Queue, QueueReport
from eaves.base.clock import SYSTEM, Clock
from eaves.console.backend import Backend
from eaves.errors import EavesError, NotFoundError

MAX_AGE_S = 2.0
"""Time for which the report of a queue is used again, seconds."""
WAIT_S = 5.0
"""Maximum time that a page waits for reports, seconds."""
PARALLEL = 8
"""Maximum number of queues that are asked at the same time."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


class ReusedAnswer(Generic[T]):
    """An answer that is used again for some time; of several threads that need a new one, one asks for it.

    Args:
        ask: Asks the platform.
        reuse_s: Time for which its answer is used again, seconds.
        clock: Clock for that time.
    """

    def __init__(self, ask: Callable[[], T], reuse_s: float, clock: Clock = SYSTEM) -> None:
        self._ask = ask
        self._reuse_s = reuse_s
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: tuple[float, T] | None = None

    def get(self) -> T:
        """Return the answer; the errors are those of `ask`, and aren't kept."""
        with self._lock:
            if self._kept is None or self._clock.monotonic() - self._kept[0] >= self._reuse_s:
                answer = self._ask()  # those who wait for it take it, however long it took
                self._kept = self._clock.monotonic(), answer
            return self._kept[1]

    def forget(self) -> None:
        """Ask again next time."""
        with self._lock:
            self._kept = None


def find_queue(backend: Backend, name: str) -> Queue:
    """Return a queue by its name; a NotFoundError when there is none with this name."""
    found = backend.queues()
    if name not in found:
        raise NotFoundError(f"there is no queue {name[:64]!r}", hint="eaves status")
    return found[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueReports:
    """Reports of the queues.

    Attributes:
        reports: Report of each queue that answered, by name.
        unreachable: Name of each other queue to the reason why it can't be read.
    """

    reports: dict[str, QueueReport] = field(default_factory=dict)
    unreachable: dict[str, str] = field(default_factory=dict)


class QueueReporter:
    """Asks the queues of a platform for their reports; safe to call from many threads.

    Args:
        backend: The platform.
        clock: Clock for the age of reports.
        wait_s: Maximum time that `read` waits, seconds.
    """

    def __init__(self, backend: Backend, clock: Clock = SYSTEM, *, wait_s: float = WAIT_S) -> None:
        self._backend = backend
        self._clock = clock
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(PARALLEL)
        self._asked: dict[str, tuple[float, Future[QueueReport]]] = {}

    def read(self) -> QueueReports:
        """Return the report of each queue; one that doesn't answer in time is unreachable.

        Raises:
            EavesError: When the platform can't name its queues.
        """
        queues = self._backend.queues()
        with self._lock:
            self._asked = {name: self._ask(name, queue) for name, queue in queues.items()}
            answers = {name: answer for name, (_, answer) in self._asked.items()}
        wait(answers.values(), self._wait_s)
        found = QueueReports()
        for name, answer in answers.items():
            error = answer.exception() if answer.done() else None
            if not answer.done():
                found.unreachable[name] = f"it hasn't answered within {self._wait_s:.0f} seconds"
            elif error is None:
                found.reports[name] = answer.result()
            elif isinstance(error, EavesError):
                found.unreachable[name] = error.message
            else:
                found.unreachable[name] = f"unexpected error: {type(error).__name__}"
        return found

    def _ask(self, name: str, queue: Queue) -> tuple[float, Future[QueueReport]]:
        """Return when a queue was asked, and its answer: the one on its way, a fresh one, or that of a new thread."""
        now, asked = self._clock.monotonic(), self._asked.get(name)
        if asked is not None and (not asked[1].done() or now - asked[0] < MAX_AGE_S):
            return asked
        answer: Future[QueueReport] = Future()
        threading.Thread(target=self._run, args=(queue, answer), name=f"queue-{name}"[:64], daemon=True).start()
        return now, answer

    def _run(self, queue: Queue, answer: Future[QueueReport]) -> None:
        try:
            with self._slots:
                report = queue.report()
        except Exception as error:  # noqa: BLE001 - pages wait for this thread's answer
            if not isinstance(error, EavesError):
                _log.exception("a queue can't be read")
            answer.set_exception(error)
        else:
            answer.set_result(report)
