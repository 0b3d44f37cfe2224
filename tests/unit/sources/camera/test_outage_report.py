"""What a camera source logs of its outages; the clock is turned."""

from __future__ import annotations

import logging

import pytest

from eaves.sources.camera.outages import OutageReport
from tests.fakes.clock import ManualClock
from tests.sources.contexts import build_context


def test_a_stream_that_breaks_every_11_seconds_has_two_lines_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = ManualClock()
    context = build_context(clock=clock)
    report = OutageReport(context)
    for _ in range(24 * 3600 // 11):
        report.watching()
        assert context.counters.state == "watching"
        clock.turn(10.0)
        report.waiting("the stream ended")
        assert context.counters.state == "waiting"
        clock.turn(1.0)
    lines = [record.getMessage() for record in caplog.records]
    assert 24 <= sum("is waiting" in line for line in lines) <= 25
    assert 24 <= sum("is watching" in line for line in lines) <= 26
    assert "is waiting: the stream ended (327 more times since the last such line)" in lines[3]


def test_another_reason_is_logged_at_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    report = OutageReport(build_context(clock=ManualClock()))
    for reason in ("the stream ended", "no data", "the stream ended"):
        report.watching()
        report.waiting(reason)
    assert sum("is waiting" in record.getMessage() for record in caplog.records) == 2


def test_the_status_has_the_present_reason_while_two_take_turns(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    context = build_context(clock=clock)
    report = OutageReport(context)
    for reason in ("no answer", "connection refused") * 5:
        clock.turn(3)
        report.waiting(reason)
        assert context.counters.reason == reason
    assert len(caplog.messages) == 2
