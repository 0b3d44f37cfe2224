"""What options do to a frame's pixels: crop, unchanged, longest side, encoding."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from eaves.config import SettingsLayer, build
from eaves.errors import ConfigError
from eaves.images.pixels import decode
from eaves.sources.context import Dropped, Frame
from eaves.sources.options import FrameEditor, FrameOptions
from tests.inputs import hostile
from tests.inputs.hostile import encode
from tests.inputs.pictures import ORIENTATIONS, picture
from tests.processes.commands import run_code

Array = npt.NDArray[np.uint8]


def options(**values: Any) -> FrameOptions:
    return build(FrameOptions, SettingsLayer(origin="eaves.yaml", values=values))


def frame(data: bytes, number: int = 0, camera: str = "") -> Frame:
    return Frame(data=data, position=str(number), captured_at_ns=number, camera=camera, extensions={"mine": "1"})


def edit(data: bytes, **values: Any) -> Frame:
    outcome = FrameEditor(options(**values)).edit(frame(data))
    assert isinstance(outcome, Frame), outcome
    return outcome


def quarters(width: int = 400, height: int = 200) -> Array:
    """An image of four plain colours, which JPEG keeps."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2], pixels[: height // 2, width // 2 :] = (200, 0, 0), (0, 200, 0)
    pixels[height // 2 :, : width // 2], pixels[height // 2 :, width // 2 :] = (0, 0, 200), (200, 200, 200)
    return pixels


def jpeg(pixels: Array, **values: Any) -> bytes:
    return encode(Image.fromarray(pixels), "JPEG", quality=95, subsampling=0, **values)


def noisy(pixels: Array, deviation: float, seed: int) -> Array:
    noise = np.random.default_rng(seed).normal(0, deviation, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def test_without_options_nothing_is_decoded_and_pillow_is_not_imported():
    code = (
        "import sys\n"
        "from eaves.sources.context import Frame\n"
        "from eaves.sources.options import FrameEditor, FrameOptions\n"
        "frame = Frame(data=b'no image', position='1')\n"
        "assert FrameEditor(FrameOptions(rate='1/s', hours=('00:00-24:00',))).edit(frame) is frame\n"
        "print(sorted({'PIL', 'numpy'} & set(sys.modules)))\n"
        "FrameEditor(FrameOptions(crop=(0, 0, 1, 1))).edit(frame)\n"
        "print(sorted({'PIL', 'numpy'} & set(sys.modules)))\n"
    )
    done = run_code(code, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "['PIL']"]


@pytest.mark.parametrize("crop", ["0.5,0,0.5,0.5", "200,0,200,100", [200, 0, 200, 100]])
def test_crop_keeps_a_rectangle_of_pixels_or_shares(crop: Any):
    edited = edit(jpeg(quarters()), crop=crop)
    pixels = decode(edited.data)
    assert pixels.shape == (100, 200, 3)
    assert np.abs(pixels.astype(int) - (0, 200, 0)).max() < 8
    assert edited.content_type == "image/jpeg"
    assert edited.extensions == {"mine": "1", "crop": "200,0,200,100", "reencoded": "image/jpeg;quality=90"}


@pytest.mark.parametrize("orientation", [3, 6])
def test_crop_is_of_the_upright_image(orientation: int):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = quarters()
    upright = np.ascontiguousarray(ORIENTATIONS[orientation](stored))
    edited = edit(jpeg(stored, exif=exif), crop="0,0,0.5,0.5")
    expected = upright[: upright.shape[0] // 2, : upright.shape[1] // 2]
    pixels = decode(edited.data)
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).max() < 12
    assert b"Exif" not in edited.data


def test_a_crop_beyond_the_image_drops_it_and_says_why():
    outcome = FrameEditor(options(crop="300,0,200,100")).edit(frame(jpeg(quarters())))
    assert outcome == Dropped("unsupported", "crop extends to 500,100, beyond the image of 400x200 pixels")


@pytest.mark.parametrize("crop", ["0.5,0,0.6,0.5", "1,2,3", "-1,0,5,5", "1.5,0,100,100", "a,b,c,d"])
def test_a_crop_that_is_no_rectangle_is_a_fault(crop: str):
    with pytest.raises(ConfigError, match=r"eaves.yaml: crop"):
        options(crop=crop)


def test_a_jpeg_that_is_decoded_at_just_the_longest_side_is_made_smaller_too():
    edited = edit(encode(picture(1280, 1280), "JPEG"), max_side=320)
    assert (edited.extensions["scaledto"], decode(edited.data).shape) == ("320x320", (320, 320, 3))


def test_the_longest_side_is_made_smaller_and_never_larger():
    edited = edit(encode(picture(1600, 1200), "JPEG"), max_side=320)
    assert decode(edited.data).shape == (240, 320, 3)
    assert edited.extensions["scaledto"] == "320x240"
    small = encode(picture(100, 320), "PNG")
    assert edit(small, max_side=320).data == small


def test_frames_that_only_noise_tells_apart_are_unchanged():
    editor = FrameEditor(options(unchanged=1))
    scene = np.asarray(picture(640, 480))
    kept = [
        number for number in range(20) if isinstance(editor.edit(frame(jpeg(noisy(scene, 10, number)), number)), Frame)
    ]
    assert kept == [0]
    assert editor.edit(frame(jpeg(scene), 20)) == Dropped("unchanged")


@pytest.mark.parametrize("name", list(hostile.CORRUPT)[:3])
def test_a_corrupt_image_is_dropped_with_its_reason(name: str):
    outcome = FrameEditor(options(crop="0,0,0.5,0.5", unchanged=1)).edit(frame(hostile.CORRUPT[name]()))
    assert isinstance(outcome, Dropped)
    assert outcome.cause in {"unreadable", "unsupported", "too_large"}
    assert outcome.reason
