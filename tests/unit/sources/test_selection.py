"""Which frames are passed by their times: rate, hours, and frames that are offered again."""

import itertools
import random
from datetime import datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from eaves.config import SettingsLayer, build
from eaves.errors import ConfigError
from eaves.sources.context import Dropped, Frame
from eaves.sources.options import FrameEditor, FrameOptions, parse_interval_ns

SECOND = 1_000_000_000
NUMBERS = itertools.count()


def options(**values: Any) -> FrameOptions:
    return build(FrameOptions, SettingsLayer(origin="eaves.yaml", values=values))


def frame(at_s: float | None, position: str = "", camera: str = "") -> Frame:
    moment = None if at_s is None else round(at_s * SECOND)
    return Frame(data=b"\xff\xd8\xff", position=position or str(next(NUMBERS)), captured_at_ns=moment, camera=camera)


def passed(editor: FrameEditor, *times: float, camera: str = "") -> list[float]:
    return [at for at in times if isinstance(editor.edit(frame(at, camera=camera)), Frame)]


def at_hour(text: str, zone: str = "Europe/Berlin") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(("rate", "interval_s"), [("2/s", 0.5), ("1/10s", 10), ("4/h", 900)])
def test_a_rate_is_frames_in_a_time(rate: str, interval_s: float):
    assert parse_interval_ns(rate) == interval_s * SECOND


@pytest.mark.parametrize("rate", ["2", "0/s", "2/w", "2000/s", "1/400d"])
def test_a_rate_that_is_none_is_a_fault(rate: str):
    with pytest.raises(ConfigError, match=r"eaves.yaml: rate: must be"):
        options(rate=rate)


def test_a_rate_thins_out_by_capture_times_however_fast_frames_arrive():
    editor = FrameEditor(options(rate="1/10s"))
    assert passed(editor, *range(1_000, 1_061)) == [1_000, 1_010, 1_020, 1_030, 1_040, 1_050, 1_060]
    assert editor.edit(frame(1_061)) == Dropped("rate")


def test_a_camera_that_is_a_little_early_and_late_keeps_its_rate():
    editor = FrameEditor(options(rate="5/s"))
    jitter = random.Random(0)
    times = [1_000 + number * 0.04 + jitter.uniform(-0.015, 0.015) for number in range(2_501)]  # 25 frames a second
    assert len(passed(editor, *times)) == pytest.approx(501, abs=2)


@pytest.mark.parametrize("jump_s", [-1_000_000, 11])
def test_a_clock_that_jumps_stops_nothing(jump_s: float):
    editor = FrameEditor(options(rate="1/10s"))
    assert passed(editor, 2_000_000) == [2_000_000]
    kept = passed(editor, *(2_000_000 + jump_s + number for number in range(40)))
    assert kept[0] == 2_000_000 + jump_s
    assert {round(later - earlier) for earlier, later in pairwise(kept)} <= {9, 10}


def test_a_frame_that_has_to_wait_for_a_full_queue_is_not_dropped_when_it_is_offered_again():
    editor = FrameEditor(options(rate="1/10s"))
    held = frame(1_000, "held")
    assert editor.edit(held) is held
    assert editor.edit(held) is held
    assert passed(editor, 1_010, 1_020) == [1_010, 1_020]
    assert editor.edit(frame(1_021)) == Dropped("rate")


def test_cameras_without_number_take_no_memory_without_end():
    editor = FrameEditor(options(rate="1/d"))
    for number in range(3_000):
        editor.edit(frame(number, camera=f"topic/{number}"))
    assert passed(editor, 3_000, camera="topic/2999") == []
    assert passed(editor, 3_001, camera="topic/0") == [3_001]


@pytest.mark.parametrize(
    ("moment", "kept"),
    [
        ("2026-11-25T21:59:59", False),
        ("2026-11-25T22:00:00", True),
        ("2026-11-26T05:59", True),
        ("2026-11-26T06:00", False),
    ],
)
def test_hours_may_pass_midnight(moment: str, *, kept: bool):
    editor = FrameEditor(options(hours="22:00-06:00", time_zone="Europe/Berlin"))
    outcome = editor.edit(frame(at_hour(moment)))
    assert isinstance(outcome, Frame) if kept else outcome == Dropped("hours")


def test_hours_are_those_of_the_time_zone_in_summer_and_winter():
    editor = FrameEditor(options(hours=["06:00-09:00", "16:00-24:00"], time_zone="Asia/Kolkata"))
    for day in ("2026-01-10", "2026-07-10"):
        for clock, kept in (("05:59", False), ("06:00", True), ("09:00", False), ("23:59", True), ("00:00", False)):
            moment = at_hour(f"{day}T{clock}", "Asia/Kolkata")
            assert isinstance(editor.edit(frame(moment)), Frame) is kept, clock


@pytest.mark.parametrize("hours", ["22-6", "22:61-06:00", "06:00-06:00"])
def test_hours_that_are_none_are_a_fault(hours: str):
    with pytest.raises(ConfigError, match=r"eaves.yaml: hours: must"):
        options(hours=hours)


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "../etc/passwd"])
def test_a_time_zone_that_this_machine_does_not_have_is_a_fault(zone: str):
    with pytest.raises(ConfigError, match=r"eaves.yaml: time_zone: must be a time zone"):
        options(hours="22:00-06:00", time_zone=zone)
