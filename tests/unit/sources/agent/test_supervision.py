"""A source that fails is run again for as long as the process lives."""

import logging
import threading

import pytest

from eaves.errors import SpoolFullError
from eaves.sources.agent.context import SILENT_S, AgentContext
from eaves.sources.agent.supervision import SupervisedSource, stop_sources
from eaves.sources.context import SourceContext
from tests.fakes.clock import ManualClock
from tests.sources.contexts import build_context
from tests.waiting import wait_until


class Failing:
    """A source: each run fails in the way that comes next, or ends by itself when it is None."""

    def __init__(self, *errors: BaseException | None) -> None:
        self.runs = 0
        self._errors = errors

    def __call__(self, context: SourceContext) -> None:
        self.runs += 1
        context.report("watching")
        error = self._errors[self.runs % len(self._errors)]
        if error is not None:
            raise error


def run_for(clock: ManualClock, source: Failing, supervised: SupervisedSource, runs: int) -> list[float]:
    """Let it run so often; returns the pauses in between."""
    supervised.start()
    pauses: list[float] = []
    try:
        while source.runs < runs:
            due_s = wait_until(lambda: max(clock.next_due_s() or 0.0, 0.0), pause_s=0.001, what="a pause")
            pauses.append(due_s)
            before = source.runs
            clock.turn(due_s + 0.001)
            wait_until(lambda: source.runs > before, pause_s=0.001, what="another run")  # noqa: B023
        wait_until(lambda: supervised.context.counters.state == "failed", what="the last failure")
    finally:
        stop_sources([supervised])
    return pauses


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def context(clock: ManualClock) -> AgentContext:
    return build_context(clock=clock)


def test_it_is_run_again_after_any_number_of_failures_with_pauses_that_stop_growing(
    clock: ManualClock, context: AgentContext
):
    source = Failing(ValueError("a bug"))
    supervised = SupervisedSource(source, context, clock=clock)
    pauses = run_for(clock, source, supervised, 1_100)
    assert pauses[:7] == pytest.approx([1, 2, 4, 8, 16, 32, 60])
    assert pauses[7:] == pytest.approx([60.0] * len(pauses[7:]))
    assert context.stopping


def test_state_and_reason_say_that_it_failed(clock: ManualClock, context: AgentContext):
    supervised = SupervisedSource(Failing(ValueError("no way to mqtt://me:secret@broker/")), context, clock=clock)
    counters = supervised.context.counters
    assert (counters.state, counters.reason) == ("waiting", "not started")
    supervised.start()
    try:
        wait_until(lambda: counters.state == "failed")
        assert counters.reason == "ValueError: no way to mqtt://***@broker/"
        assert counters.last_error == (counters.reason, clock.now())
    finally:
        stop_sources([supervised])


def test_an_error_is_logged_once_with_its_traceback_and_another_one_too(
    clock: ManualClock, context: AgentContext, caplog: pytest.LogCaptureFixture
):
    source = Failing(ValueError("a bug"), SystemExit(3))
    run_for(clock, source, SupervisedSource(source, context, clock=clock), 20)
    assert [record.exc_info is not None for record in caplog.records] == [True, True]
    assert "source cam failed" in caplog.text


def test_a_source_may_leave_a_full_spool_to_its_agent(
    clock: ManualClock, context: AgentContext, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    source = Failing(SpoolFullError("spool is full (1 GB)"))
    supervised = SupervisedSource(source, context, clock=clock)
    supervised.start()
    try:
        wait_until(lambda: supervised.context.counters.state == "paused")
        assert (
            supervised.context.counters.reason == "spool is full (1 GB); capture is paused until events are delivered"
        )
    finally:
        stop_sources([supervised])
    assert [record.levelname for record in caplog.records if record.exc_info] == []


def test_a_source_that_hangs_is_not_alive_and_one_that_waits_or_rests_is(clock: ManualClock, context: AgentContext):
    hung = threading.Event()

    def run(context: SourceContext) -> None:
        context.report("watching")
        hung.wait(60)
        while context.wait(86_400):
            pass

    supervised = SupervisedSource(run, context, clock=clock)
    supervised.start()
    try:
        wait_until(lambda: supervised.context.counters.state == "watching", what="a source that hangs")
        clock.turn(SILENT_S - 1)
        assert supervised.is_alive()
        clock.turn(2)
        assert not supervised.is_alive()
        report = supervised.report()
        assert (report.state, report.reason) == ("hung", "the source has not responded for 15 minutes")
        hung.set()
        wait_until(supervised.is_alive, what="a source that waits")
        assert supervised.report().state == "watching"
        clock.turn(80_000)
        assert supervised.is_alive()
    finally:
        stop_sources([supervised])
