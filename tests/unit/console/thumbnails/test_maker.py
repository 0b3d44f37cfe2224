"""A thumbnail is small, has nothing but pixels, and costs little whatever the file is."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import pytest
from PIL import Image

from eaves.console.thumbnails.maker import make_thumbnail
from eaves.images.decoder import load
from tests.inputs import hostile, pictures
from tests.inputs.hostile import encode, jpeg_segment

MAX_CPU_S = 5.0


def opened(jpeg: bytes | None) -> Image.Image:
    assert jpeg is not None
    image = Image.open(io.BytesIO(jpeg))
    assert image.format == "JPEG"
    return image


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1920, 1080), (320, 180)), ((600, 1200), (160, 320)), ((320, 320), (320, 320)), ((31, 17), (31, 17)),
        ((3000, 4), (320, 1)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_its_longest_side_fits(size: tuple[int, int], expected: tuple[int, int], kind: str) -> None:
    assert opened(make_thumbnail(encode(pictures.picture(*size), kind))).size == expected


NOTE = b"a note <script>"
NOTED: dict[str, Callable[[], bytes]] = {
    "JPEG, a comment": lambda: hostile.jpeg_with(jpeg_segment(0xFE, NOTE)),
    "JPEG, a profile": lambda: hostile.jpeg_with(jpeg_segment(0xE2, b"ICC_PROFILE\0\1\1" + NOTE)),
    "JPEG, a thumbnail in its EXIF": lambda: pictures.with_thumbnail().data,
    "PNG, a text": lambda: hostile.png_with(hostile.png_chunk(b"tEXt", b"comment\0" + NOTE)),
    "GIF, a comment": lambda: encode(pictures.picture().quantize(16), "GIF", comment=NOTE),
    "WebP, XMP and a profile": lambda: encode(pictures.picture(), "WEBP", xmp=NOTE, icc_profile=NOTE),
    "TIFF, a description": lambda: encode(pictures.picture(), "TIFF", description=NOTE.decode(), software="script"),
}


@pytest.mark.parametrize("make", NOTED.values(), ids=NOTED)
def test_it_has_no_metadata(make: Callable[[], bytes]) -> None:
    made = make_thumbnail(make())
    image = opened(made)
    assert made is not None
    assert b"script" not in made
    assert not image.getexif()
    assert {"icc_profile", "comment", "exif", "xmp"}.isdisjoint(image.info)


def test_it_is_upright() -> None:
    assert opened(make_thumbnail(pictures.turned("JPEG", 6).data)).size == (16, 32)


def test_a_hostile_file_costs_no_more_than_a_picture() -> None:
    dear = []
    for name, make in {**hostile.CORRUPT, **hostile.TOO_LARGE, **hostile.HARMLESS}.items():
        data, start = make(), time.thread_time()
        made = make_thumbnail(data)
        if time.thread_time() - start >= MAX_CPU_S or len(made or b"") >= 200_000:
            dear.append(name)
    assert dear == []


def test_a_photo_of_12_megapixels_is_decoded_at_a_fraction_of_its_size() -> None:
    photo = encode(pictures.picture(400, 300).resize((4_000, 3_000)), "JPEG", quality=85)
    assert opened(make_thumbnail(photo)).size == (320, 240)
    small = min(cpu_s(lambda: make_thumbnail(photo)) for _ in range(3))
    whole = min(cpu_s(lambda: load(photo)) for _ in range(3))
    assert small < 0.6 * whole


def cpu_s(work: Callable[[], object]) -> float:
    start = time.thread_time()
    work()
    return time.thread_time() - start


def test_an_image_that_must_be_decoded_at_its_full_size_has_a_lower_limit() -> None:
    assert make_thumbnail(hostile.huge_png(5_200)) is None
    assert opened(make_thumbnail(hostile.huge_png(4_900))).size == (320, 320)
