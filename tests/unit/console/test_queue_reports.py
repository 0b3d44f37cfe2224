"""Reports of all queues: asked at the same time, kept, and never waited for without a limit."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from eaves.admin import QueueReport
from eaves.admin.queue import SpoolQueue
from eaves.console.queue_reports import QueueReporter, ReusedAnswer, find_queue
from eaves.errors import NotFoundError, PlatformError
from eaves.spool import Spool
from tests.fakes.clock import ManualClock
from tests.fakes.console.backend import FakeBackend
from tests.waiting import wait_until


@dataclass
class SlowQueue(SpoolQueue):
    """A queue whose report takes as long as a test wants."""

    go: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None
    asked: int = 0

    def report(self) -> QueueReport:
        self.asked += 1
        assert self.go.wait(20)
        if self.error is not None:
            raise self.error
        return QueueReport(queued_bytes=self.asked)


def quick(error: Exception | None = None) -> SlowQueue:
    queue = SlowQueue(error=error)
    queue.go.set()
    return queue


def test_queues_that_fail_do_not_hide_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Spool(tmp_path / "spool.db") as spool:
        queues = {"broker": SpoolQueue(spool), "a": quick(PlatformError("it is gone")), "b": quick(KeyError("x"))}
        found = QueueReporter(FakeBackend(named_queues=dict(queues))).read()
    assert list(found.reports) == ["broker"]
    assert found.unreachable == {"a": "it is gone", "b": "unexpected error: KeyError"}
    assert "a queue can't be read" in caplog.text


def test_a_queue_that_does_not_answer_is_left_out_and_asked_only_once() -> None:
    hung = SlowQueue()
    backend = FakeBackend(named_queues={"hung": hung, "well": quick()})
    reporter = QueueReporter(backend, ManualClock(), wait_s=0.05)
    for _ in range(3):
        found = reporter.read()
        assert list(found.reports) == ["well"]
        assert found.unreachable == {"hung": "it hasn't answered within 0 seconds"}
    assert hung.asked == 1
    hung.go.set()
    wait_until(lambda: "hung" in reporter.read().reports)


def test_a_slow_answer_serves_those_who_have_waited_for_it() -> None:
    clock, asked = ManualClock(), []

    def ask() -> int:
        asked.append(clock.monotonic())
        clock.turn(3.0)  # a platform that takes longer to answer than its answer is used again
        return len(asked)

    answer = ReusedAnswer(ask, 1.0, clock)
    assert [answer.get() for _ in range(50)] == [1] * 50
    clock.turn(1.0)
    assert answer.get() == 2


def test_a_report_is_kept_for_a_while() -> None:
    clock, queue = ManualClock(), quick()
    reporter = QueueReporter(FakeBackend(named_queues={"q": queue}), clock)
    assert [reporter.read().reports["q"].queued_bytes for _ in range(3)] == [1, 1, 1]
    clock.turn(1.9)
    assert reporter.read().reports["q"].queued_bytes == 1
    clock.turn(0.1)
    assert reporter.read().reports["q"].queued_bytes == 2


def test_a_queue_that_was_removed_is_not_shown_any_more() -> None:
    backend = FakeBackend(named_queues={"a": quick(), "b": quick()})
    reporter = QueueReporter(backend)
    assert set(reporter.read().reports) == {"a", "b"}
    del backend.named_queues["a"]
    assert set(reporter.read().reports) == {"b"}


def test_an_unknown_queue_is_named() -> None:
    with pytest.raises(NotFoundError, match="there is no queue 'x'"):
        find_queue(FakeBackend(), "x")
