"""How often a source will send: what was found, and the settings and options that lower it."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from eaves.sources.agent.configuration import read_source
from eaves.sources.camera.wire import Opened
from eaves.sources.trial.trial import find_interval, round_interval


def build_stream(
    decoding: Literal["none", "key", "all"], *, rate: float = 25.0, key_interval_s: float = 1.987
) -> Opened:
    return Opened(codec="h264", width=640, height=360, rate=rate, decoding=decoding, key_interval_s=key_interval_s)


CAMERA = {"kind": "camera", "url": "rtsp://cam/1"}
FOLDER = {"kind": "folder", "path": "/in"}


@pytest.mark.parametrize(
    ("values", "stream", "measured_s", "interval_s"),
    [
        (CAMERA, None, 2.0, 2.0),
        ({**CAMERA, "every_s": 5}, None, 0.0, 5.0),
        ({**CAMERA, "every_s": 5}, None, 8.0, 8.0),
        ({**CAMERA, "every_s": 5, "rate": "1/min"}, None, 8.0, 60.0),
        (CAMERA, build_stream("key"), 9.0, 2.0),
        (CAMERA, build_stream("all"), 9.0, 0.04),
        (CAMERA, build_stream("none", rate=0.0), 9.0, 9.0),
        ({**FOLDER, "rate": "1/s"}, None, 0.0, 0.0),
    ],
)
def test_the_slowest_counts_and_nothing_is_guessed(
    values: dict[str, Any], stream: Opened | None, measured_s: float, interval_s: float
) -> None:
    configured, faults = read_source({"name": "gate", **values}, "test", "")
    assert configured is not None, faults
    assert find_interval(stream, configured, measured_s) == interval_s


@pytest.mark.parametrize(("seconds", "shown"), [(0.987, 1.0), (0.0414, 0.041), (1.987, 2.0)])
def test_a_measured_time_has_the_digits_that_are_shown(seconds: float, shown: float) -> None:
    assert round_interval(seconds) == pytest.approx(shown)
