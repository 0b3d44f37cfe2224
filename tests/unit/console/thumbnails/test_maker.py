"""A thumbnail is small, has nothing but pixels, and costs little whatever the file is."""

import io
import time
from collections.abc import Callable

import pytest
from PIL import Image

from eaves.console.thumbnails import make_thumbnail
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
        ((600, 1200), (160, 320)), ((31, 17), (31, 17)), ((3000, 4), (320, 1)),
    ],
)  # fmt: skip
def test_its_longest_side_fits(size: tuple[int, int], expected: tuple[int, int]):
    assert opened(make_thumbnail(encode(pictures.picture(*size), "PNG"))).size == expected


NOTE = b"a note <script>"
NOTED: dict[str, Callable[[], bytes]] = {
    "JPEG, a profile": lambda: hostile.jpeg_with(jpeg_segment(0xE2, b"ICC_PROFILE\0\1\1" + NOTE)),
    "JPEG, a thumbnail in its EXIF": lambda: pictures.with_thumbnail().data,
    "WebP, XMP and a profile": lambda: encode(pictures.picture(), "WEBP", xmp=NOTE, icc_profile=NOTE),
}


@pytest.mark.parametrize("make", NOTED.values(), ids=NOTED)
def test_it_has_no_metadata(make: Callable[[], bytes]):
    made = make_thumbnail(make())
    image = opened(made)
    assert made is not None
    assert b"script" not in made
    assert not image.getexif()
    assert {"icc_profile", "comment", "exif", "xmp"}.isdisjoint(image.info)


def test_it_is_upright():
    assert opened(make_thumbnail(pictures.turned("JPEG", 6).data)).size == (16, 32)


def test_a_hostile_file_costs_no_more_than_a_picture():
    dear = []
    for name, make in {**hostile.CORRUPT, **hostile.TOO_LARGE, **hostile.HARMLESS}.items():
        data, start = make(), time.thread_time()
        made = make_thumbnail(data)
        if time.thread_time() - start >= MAX_CPU_S or len(made or b"") >= 200_000:
            dear.append(name)
    assert dear == []


def test_an_image_that_must_be_decoded_at_its_full_size_has_a_lower_limit():
    assert make_thumbnail(hostile.huge_png(5_200)) is None
    assert opened(make_thumbnail(hostile.huge_png(4_900))).size == (320, 320)
