"""Which frames of a stream are decoded and sent."""

import random

import pytest

from eaves.plugins.camera.decoder_reading import FrameSelection


def _play(selection: FrameSelection, *, rate: int, key_every: int, seconds: float, jitter: float = 0.0) -> list[float]:
    """Times of the frames that are sent, as the reader decides it."""
    generator = random.Random(22)
    sent = []
    for number in range(int(rate * seconds)):
        time_s = 1_000 + number / rate + generator.uniform(-jitter, jitter)
        wanted = selection.begin_packet(is_key=number % key_every == 0, time_s=time_s)
        if wanted and selection.is_due(time_s) and selection.take(time_s):
            sent.append(time_s - 1_000)
    return sent


def test_every_key_frame_is_sent_by_default():
    selection = FrameSelection(0)
    assert _play(selection, rate=25, key_every=50, seconds=20) == pytest.approx([2 * n for n in range(10)])
    assert selection.decoding == "key"
    assert selection.key_interval_s == pytest.approx(2)


@pytest.mark.parametrize("every_s", [1.0, 60.0])
def test_key_frames_are_enough_when_they_come_often(every_s: float):
    selection = FrameSelection(every_s)
    sent = _play(selection, rate=25, key_every=25, seconds=240, jitter=0.03)
    assert selection.decoding == "key"
    assert len(sent) == 240 / every_s


@pytest.mark.parametrize("every_s", [0.2, 1.0])
def test_all_frames_are_decoded_when_key_frames_come_too_seldom(every_s: float):
    selection = FrameSelection(every_s)
    sent = _play(selection, rate=25, key_every=100, seconds=40)
    assert selection.decoding == "all"
    assert len([time_s for time_s in sent if time_s >= 8]) == pytest.approx(32 / every_s, abs=1)


def test_times_that_jump_stop_no_frames():
    selection = FrameSelection(1.0)
    assert selection.take(100.0)
    assert selection.is_due(5.0)
    assert selection.take(5.0)
    assert not selection.is_due(5.5)
    assert selection.take(1e9)


def test_a_stream_with_one_key_frame_has_all_its_frames_decoded():
    sent = _play(FrameSelection(0.4), rate=10, key_every=100_000, seconds=40)
    assert len(sent) == pytest.approx(100, abs=1)
