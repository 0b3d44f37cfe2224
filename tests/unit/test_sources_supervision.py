"""A source that fails is run again for as long as the process lives."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from eaves.sources.source import Source, State
from eaves.sources.supervision import SupervisedSource
from tests.fakes.clock import ManualClock
from tests.waiting import wait_until


class Failing:
    """Implements `Source`: each run fails in the way that comes next, or ends by itself when it is None."""

    state: State = "watching"
    reason = ""
    captured = 0
    last_captured_at: float | None = None

    def __init__(self, *errors: Exception | None) -> None:
        self.runs = 0
        self.stopped = False
        self._errors = errors
        self.dropped: Mapping[str, int] = {}

    def run(self) -> None:
        self.runs += 1
        error = self._errors[self.runs % len(self._errors)]
        if error is not None:
            raise error

    def stop(self) -> None:
        self.stopped = True


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
        wait_until(lambda: supervised.state == "failed", what="the last failure")
    finally:
        supervised.stop()
    return pauses


def test_it_is_run_again_after_any_number_of_failures_with_pauses_that_stop_growing() -> None:
    clock = ManualClock()
    source: Failing = Failing(ValueError("a bug"))
    typed: Source = source
    supervised = SupervisedSource("cam", typed, clock=clock)
    pauses = run_for(clock, source, supervised, 1_100)
    assert pauses[:7] == pytest.approx([1, 2, 4, 8, 16, 32, 60])
    assert pauses[7:] == pytest.approx([60.0] * len(pauses[7:]))
    assert supervised.restarts >= 1_100
    assert source.stopped


def test_state_and_reason_say_that_it_failed() -> None:
    clock = ManualClock()
    supervised = SupervisedSource("cam", Failing(ValueError("a bug")), clock=clock)
    assert (supervised.state, supervised.reason) == ("watching", "")
    supervised.start()
    try:
        wait_until(lambda: supervised.state == "failed")
        assert supervised.reason == "ValueError: a bug"
    finally:
        supervised.stop()


def test_a_source_that_ends_by_itself_is_run_again() -> None:
    clock = ManualClock()
    source = Failing(None)
    run_for(clock, source, SupervisedSource("cam", source, clock=clock), 3)


def test_an_error_is_logged_once_with_its_traceback_and_another_one_too(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    source = Failing(ValueError("a bug"), KeyError("another"))
    run_for(clock, source, SupervisedSource("cam", source, clock=clock), 20)
    assert [record.exc_info is not None for record in caplog.records] == [True, True]
    assert "source cam failed" in caplog.text
