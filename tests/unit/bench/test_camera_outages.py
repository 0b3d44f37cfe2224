"""What the benchmark of outages reads in an agent's log."""

from __future__ import annotations

from bench.camera.agent import LogLine
from bench.camera.outages import has_frame, judge

BEGAN, RETURNED = 100.0, 140.0


def _line(at: float, message: str) -> LogLine:
    return LogLine(at=at, source="cam1", message=message)


SILENT_BEFORE = _line(96.0, "source cam1 is waiting: no data from the camera for 15 s; connecting again")
UNREACHABLE = _line(104.8, "source cam1 is waiting: the camera can't be reached: it didn't answer in time")
SILENT = _line(115.3, "source cam1 is waiting: no data from the camera for 15 s; connecting again")
BACK = _line(141.5, "captured cam1")


def test_a_silent_camera_is_noticed_by_the_line_that_says_so() -> None:
    outage = judge([UNREACHABLE, SILENT, BACK], "silent", BEGAN, RETURNED)
    assert (outage.noticed_s, outage.back_s) == (115.3 - BEGAN, 1.5)


def test_a_reason_before_the_outage_is_not_counted() -> None:
    assert judge([SILENT_BEFORE, UNREACHABLE, BACK], "silent", BEGAN, RETURNED).noticed_s is None


def test_an_outage_begins_only_after_a_fresh_frame_of_the_same_camera() -> None:
    log = [_line(80.0, "captured cam1"), SILENT_BEFORE, LogLine(at=99.0, source="cam2", message="captured cam2")]
    assert not has_frame(log, "cam1", BEGAN - 3)
    assert has_frame([*log, _line(99.5, "captured cam1")], "cam1", BEGAN - 3)
