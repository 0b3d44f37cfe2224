"""Reports of all queues for pages: asked at the same time, kept for some seconds, with a limit to the wait.

A queue may be behind `kubectl exec` or belong to an agent that hangs. Such a queue must not delay the others, and many
open pages must not ask it more often than one page does.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from eaves.admin import Queue, QueueReport
from eaves.base.clock import SYSTEM, Clock
from eaves.console.backend import Backend
from eaves.errors import EavesError, NotFoundError

MAX_AGE_S = 2.0
"""Time for which the report of a queue is used again, seconds, however many pages ask."""
WAIT_S = 5.0
"""Maximum time that a page waits for reports, seconds."""
PARALLEL = 8
"""Maximum number of queues that are asked at the same time."""

_log = logging.getLogger(__name__)


def find_queue(backend: Backend, name: str) -> Queue:
    """Return a queue by its name.

    Raises:
        NotFoundError: When there is none with this name.
    """
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

    reports: Mapping[str, QueueReport] = field(default_factory=dict)
    unreachable: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    at: float
    report: QueueReport | None = None
    reason: str = ""


class QueueReporter:
    """Asks the queues of a platform for their reports; safe to call from many threads.

    Args:
        backend: The platform.
        clock: Clock for the age of reports.
        max_age_s: Time for which a report is kept, seconds.
        wait_s: Maximum time that `read` waits, seconds.
    """

    def __init__(
        self, backend: Backend, clock: Clock = SYSTEM, *, max_age_s: float = MAX_AGE_S, wait_s: float = WAIT_S
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._max_age_s = max_age_s
        self._wait_s = wait_s
        self._changed = threading.Condition()
        self._slots = threading.Semaphore(PARALLEL)
        self._answers: dict[str, _Answer] = {}
        self._asked: set[str] = set()

    def read(self) -> QueueReports:
        """Return the report of each queue; one that doesn't answer in time is unreachable.

        Raises:
            EavesError: When the platform can't name its queues.
        """
        queues = self._backend.queues()
        deadline = self._clock.monotonic() + self._wait_s
        with self._changed:
            for name in self._answers.keys() - queues.keys():
                del self._answers[name]
            for name, queue in queues.items():
                self._start(name, queue)
            while self._asked & queues.keys() and (left_s := deadline - self._clock.monotonic()) > 0:
                self._clock.wait(self._changed, left_s)
            late = _Answer(at=0.0, reason=f"it hasn't answered within {self._wait_s:.0f} seconds")
            answers = {name: late if name in self._asked else self._answers.get(name, late) for name in queues}
        return QueueReports(
            reports={name: answer.report for name, answer in answers.items() if answer.report is not None},
            unreachable={name: answer.reason for name, answer in answers.items() if answer.report is None},
        )

    def _start(self, name: str, queue: Queue) -> None:
        """Ask a queue in a thread unless it is being asked or its report is still fresh. The caller holds the lock."""
        answer = self._answers.get(name)
        if name in self._asked or (answer and self._clock.monotonic() - answer.at < self._max_age_s):
            return
        self._asked.add(name)
        threading.Thread(target=self._ask, args=(name, queue), name=f"queue-{name}"[:64], daemon=True).start()

    def _ask(self, name: str, queue: Queue) -> None:
        report, reason = None, ""
        try:
            with self._slots:
                report = queue.report()
        except EavesError as error:
            reason = error.message
        except Exception as error:  # noqa: BLE001 - the page waits for this thread's answer
            _log.exception("the queue %s can't be read", name)
            reason = f"unexpected error: {type(error).__name__}"
        finally:
            with self._changed:
                self._answers[name] = _Answer(at=self._clock.monotonic(), report=report, reason=reason)
                self._asked.discard(name)
                self._changed.notify_all()
