"""Encoded bytes to pixels: what each kind of file becomes, and what none may do."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
from PIL import Image

from eaves.errors import ImageError, ImageTooLargeError
from eaves.images.decoder import FORMATS, load
from eaves.images.pixels import decode
from eaves.media_type import SUFFIXES, sniff
from tests.inputs import hostile
from tests.inputs.hostile import encode
from tests.inputs.pictures import picture


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_is_recognised_by_its_first_bytes(kind: str) -> None:
    assert sniff(encode(picture(), kind)) == f"image/{kind.lower()}"


def test_a_suffix_is_there_for_every_format() -> None:
    assert {Image.registered_extensions()[suffix] for suffix in SUFFIXES} == set(FORMATS)


@pytest.mark.parametrize("data", [b"hello", b"\xff\xd8\xff", b"BM", b"GIF89a"])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert caught.value.http_status == 422


@pytest.mark.parametrize("size", [(8_000, 6_251), (2**31 - 1, 1)])
def test_an_image_that_claims_too_many_pixels_is_refused_from_its_header(size: tuple[int, int]) -> None:
    with pytest.raises(ImageTooLargeError) as caught:
        decode(hostile.png(*size))
    assert caught.value.http_status == 413


def test_the_limit_itself_is_allowed() -> None:
    data = encode(picture(20, 10), "PNG")
    assert decode(data, max_pixels=200).shape == (10, 20, 3)
    with pytest.raises(ImageTooLargeError, match="20x10"):
        decode(data, max_pixels=199)


@pytest.mark.parametrize("size", [(640, 480), (200, 1000), (601, 599), (64, 64)])
@pytest.mark.parametrize("at_least", [(75, 150), (299, 299)])
def test_a_scaled_decode_is_never_smaller_than_needed(size: tuple[int, int], at_least: tuple[int, int]) -> None:
    width, height = size
    pixels = decode(encode(picture(width, height), "JPEG"), at_least=at_least)
    assert pixels.shape[0] >= min(at_least[0], height)
    assert pixels.shape[1] >= min(at_least[1], width)
    assert pixels.shape[0] / height == pytest.approx(pixels.shape[1] / width, rel=0.02)


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size() -> None:
    assert decode(encode(picture(1600, 1200), "JPEG"), at_least=(150, 150)).shape == (150, 200, 3)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_image_is_an_image_error_or_an_image(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"exif": exif} if kind in ("JPEG", "PNG", "TIFF", "WEBP") else {}
    good, chance = encode(picture(), kind, **options), random.Random(0)
    for _ in range(300):
        data = bytearray(good)
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(min(len(data), chance.choice([64, 10_000])))] = chance.randrange(256)
        del data[chance.randint(len(data) // 2, len(data) * 3) :]
        try:
            pixels = decode(bytes(data), at_least=(4, 4), max_pixels=1_000_000)
        except ImageError:
            continue
        assert pixels.ndim == pixels.shape[2] == 3
        assert pixels.dtype == np.uint8


def test_large_frames_take_turns() -> None:
    """A lock given as `large` is held while more than 8 megapixels are decoded, whatever the draft asks for."""
    held: list[bool] = []

    class Gate:
        def __enter__(self) -> None:
            held.append(True)

        def __exit__(self, *error: object) -> None:
            held.append(False)

    for size, options, times in (
        ((3000, 2700), {"format": "PNG"}, 1),
        ((3000, 2600), {"format": "PNG"}, 0),
        ((3000, 2700), {"format": "JPEG"}, 0),
        ((3000, 2700), {"format": "JPEG", "progressive": True}, 1),
    ):
        held.clear()
        stream = io.BytesIO()
        Image.new("L", size).save(stream, **options)
        load(stream.getvalue(), at_least=(299, 299), large=Gate())
        assert held == [True, False] * times


def test_a_webp_may_have_a_third_of_the_pixels() -> None:
    data = encode(picture(30, 10), "WEBP")
    assert decode(data, max_pixels=900).shape == (10, 30, 3)
    with pytest.raises(ImageTooLargeError):
        decode(data, max_pixels=899)


@pytest.mark.parametrize("size", [(65_536, 1), (1, 65_536)])
def test_a_side_has_a_limit_too(size: tuple[int, int]) -> None:
    with pytest.raises(ImageTooLargeError, match="65535 pixels on a side"):
        decode(hostile.png(*size))
