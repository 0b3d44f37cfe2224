"""Capture times from times of arrival and the stream's own times."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from eaves.sources.camera.decoder.timing import MAX_DELAY_S, CaptureClock


def _run(frames: Sequence[tuple[float | None, float]]) -> list[float]:
    """Capture times of frames that are given by stream time and arrival."""
    clock = CaptureClock()
    found = []
    for stream_time, arrived in frames:
        clock.observe(stream_time, arrived)
        found.append(clock.find(stream_time, arrived))
    return found


def test_delays_of_single_frames_move_no_capture_time() -> None:
    """25 frames a second; each 25th, a key frame, takes 0.4 s longer."""
    frames = [(n / 25 + 7_000, 100 + n / 25 + 0.03 + (0.4 if n % 25 == 24 else 0.0)) for n in range(500)]
    found = _run(frames)
    for index, time_s in enumerate(found):
        assert time_s == pytest.approx(100.03 + index / 25, abs=1e-6)


def test_a_burst_after_a_stall_has_the_times_of_its_frames() -> None:
    frames = [(n / 10, 50 + n / 10) for n in range(20)]
    frames += [(n / 10, 54.0 + n / 1000) for n in range(25, 40)]  # 1.5 s of frames at once
    found = _run(frames)
    assert found[-15:] == pytest.approx([50 + n / 10 for n in range(25, 40)], abs=1e-6)


@pytest.mark.parametrize("jump", [-36_000.0, 36_000.0, -3.0, 0.7])
def test_stream_times_that_jump(jump: float) -> None:
    frames = [(n / 10 + (jump if n >= 50 else 0.0), 50 + n / 10) for n in range(100)]
    assert _run(frames) == pytest.approx([arrived for _, arrived in frames], abs=1e-6)


def test_no_capture_time_is_later_than_the_arrival_or_much_earlier() -> None:
    generator = random.Random(22)
    arrived, frames = 0.0, []
    for _ in range(5_000):
        arrived += generator.random() * 0.2
        frames.append((generator.choice([None, generator.random() * 100, arrived, -arrived]), arrived))
    for (_, arrival), found in zip(frames, _run(frames), strict=True):
        assert arrival - MAX_DELAY_S <= found <= arrival


def test_a_frame_without_a_time_has_that_of_its_arrival() -> None:
    assert _run([(None, 5.0), (1.0, 6.0), (None, 7.0)]) == [5.0, 6.0, 7.0]
