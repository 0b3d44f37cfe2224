"""The parts of a start's time."""

from __future__ import annotations

import threading

import pytest

from functions.start_timing import StartTiming


def test_every_stage_has_its_moment() -> None:
    timing = StartTiming()
    timing.import_modules("json", "colorsys")
    thread = threading.Thread(target=lambda: timing.mark("elsewhere"), name="model")
    thread.start()
    thread.join()
    moments = timing.moments_ms()
    assert list(moments) == ["interpreter", "import json", "import colorsys", "elsewhere"]
    assert list(moments.values()) == sorted(moments.values())
    assert moments["interpreter"] > 0


def test_a_stage_that_may_end_again_is_recorded_once_and_not_after_the_report(caplog: pytest.LogCaptureFixture) -> None:
    timing = StartTiming()
    timing.mark_once("first request")
    timing.mark_once("first request")
    timing.log_once("first prediction")
    timing.mark_once("first probe")
    assert list(timing.moments_ms()) == ["interpreter", "first request", "first prediction"]
