"""JPEG images from decoded frames: colours, quality, sizes."""

import io
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.inputs.videos import need_av

RED_709 = (63, 102, 240)
"""Y, Cb, Cr of pure red in BT.709 with the limited range. Source: ITU-R BT.709-6, table 3."""
RED_601 = (81, 90, 240)
"""The same in BT.601. Source: ITU-R BT.601-7, section 2.5."""


def _fill(values: tuple[int, int, int], size: tuple[int, int] = (64, 48)) -> Any:
    av = need_av()
    width, height = size
    planes = np.concatenate(
        [
            np.full(width * height, values[0]),
            np.full(width * height // 4, values[1]),
            np.full(width * height // 4, values[2]),
        ]
    )
    return av.VideoFrame.from_ndarray(planes.reshape(height * 3 // 2, width).astype(np.uint8), format="yuv420p")


def _encode(frame: Any) -> bytes:
    from eaves.plugins.camera.decoder_images import JpegEncoder

    return JpegEncoder().encode(frame)


@pytest.mark.parametrize(("values", "space"), [(RED_601, 5), (RED_601, 2), (RED_709, 1)])
def test_red_is_red(values: tuple[int, int, int], space: int):
    frame = _fill(values)
    frame.colorspace, frame.color_range = space, 1
    pixel = Image.open(io.BytesIO(_encode(frame))).convert("RGB").getpixel((30, 20))
    assert isinstance(pixel, tuple)
    assert pixel == pytest.approx((255, 0, 0), abs=4)


@pytest.mark.parametrize(("full", "levels"), [(False, (16, 235)), (True, (0, 255))])
def test_black_and_white_fill_the_range(*, full: bool, levels: tuple[int, int]):
    for level, shown in zip(levels, (0, 255), strict=True):
        frame = _fill((level, 128, 128))
        frame.color_range = 2 if full else 1
        assert Image.open(io.BytesIO(_encode(frame))).convert("L").getpixel((30, 20)) == pytest.approx(shown, abs=2)


def test_frames_of_a_stream_with_a_fine_tick_are_all_encoded():
    """An .mp4 file may have a tick of 1/1,200,000 s, with which the fifth frame was refused."""
    from eaves.plugins.camera.decoder_images import JpegEncoder

    encoder = JpegEncoder()
    for number in range(8):
        frame = _fill(RED_601)
        frame.pts, frame.time_base = number * 6_000_000, Fraction(1, 1_200_000)
        assert encoder.encode(frame)[:2] == b"\xff\xd8"
