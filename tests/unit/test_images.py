"""Encoded bytes to pixels: what each kind of file becomes, and what none may do."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eaves.errors import ImageError, ImageTooLargeError
from eaves.images import FORMATS, Pixels, decode
from eaves.media import SUFFIXES, sniff

RED = (200, 30, 60)


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def picture(width: int = 24, height: int = 16) -> Image.Image:
    """Smooth, and different at each corner."""
    rows, columns = np.mgrid[0:height, 0:width]
    red, green = rows * 255 // max(1, height - 1), columns * 255 // max(1, width - 1)
    return Image.fromarray(np.stack([red, green, np.full_like(red, 90)], -1).astype(np.uint8))


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises so many pixels and holds none."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


SAVE_OPTIONS: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}
TOLERANCE = {"JPEG": 8, "GIF": 40}


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_gives_its_pixels(kind: str) -> None:
    pixels = decode(encode(picture(), kind, **SAVE_OPTIONS.get(kind, {})))
    assert pixels.shape == (16, 24, 3)
    assert pixels.dtype == np.uint8
    difference = np.abs(pixels.astype(int) - np.asarray(picture()))
    assert difference.max() <= TOLERANCE.get(kind, 0)


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_is_recognised_by_its_first_bytes(kind: str) -> None:
    assert sniff(encode(picture(), kind)) == f"image/{kind.lower()}"


@pytest.mark.parametrize("data", [b"", b"RIFF1234WAVE", b"<svg/>", b"%PDF-1.4"])
def test_other_bytes_are_no_known_kind(data: bytes) -> None:
    assert sniff(data) == "application/octet-stream"


def test_a_suffix_is_there_for_every_format() -> None:
    assert {Image.registered_extensions()[suffix] for suffix in SUFFIXES} == set(FORMATS)


ORIENTATION: dict[int, Callable[[Pixels], Pixels]] = {  # EXIF value: what brings the stored pixels upright
    1: lambda image: image,
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(image, 2).transpose(1, 0, 2),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", ORIENTATION)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode(encode(picture(), kind, exif=exif, **SAVE_OPTIONS.get(kind, {})))
    assert np.array_equal(pixels, ORIENTATION[orientation](np.asarray(picture())))


def test_grey_becomes_three_equal_channels() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(decode(encode(Image.fromarray(grey), "PNG")), np.stack([grey] * 3, -1))


def test_black_and_white_becomes_0_and_255() -> None:
    pixels = decode(encode(Image.fromarray(np.eye(8, dtype=bool)), "PNG"))
    assert np.array_equal(pixels[..., 0], np.eye(8, dtype=np.uint8) * 255)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(kind: str) -> None:
    deep = np.array([[0, 257, 32768, 65535]], np.uint16)
    assert decode(encode(Image.fromarray(deep), kind))[0, :, 0].tolist() == [0, 1, 127, 255]


def test_16_bit_grey_of_the_other_byte_order_is_the_same() -> None:
    deep = np.array([[0, 257, 32768, 65535]], np.uint16)
    little, big = encode(Image.fromarray(deep), "TIFF"), encode(Image.fromarray(deep.astype(">u2")), "TIFF")
    assert little[:2] != big[:2]
    assert np.array_equal(decode(little), decode(big))


def test_32_bit_grey_is_taken_as_16_bit_and_clipped() -> None:
    values = np.array([[-5, 0, 25700, 70000]], np.int32)
    assert decode(encode(Image.fromarray(values), "TIFF"))[0, :, 0].tolist() == [0, 0, 100, 255]


def test_floats_that_are_no_numbers_become_black() -> None:
    values = np.array([[np.nan, np.inf, -np.inf, 25700.0]], np.float32)
    assert decode(encode(Image.fromarray(values), "TIFF"))[0, :, 0].tolist() == [0, 255, 0, 100]


def test_cmyk_becomes_rgb() -> None:
    pixels = decode(encode(picture().convert("CMYK"), "JPEG", quality=95))
    assert np.abs(pixels.astype(int) - np.asarray(picture().convert("CMYK").convert("RGB"))).max() <= 12


def test_alpha_is_laid_over_white() -> None:
    image = Image.new("RGBA", (3, 1), (*RED, 255))
    image.putpixel((1, 0), (*RED, 0))
    image.putpixel((2, 0), (0, 0, 0, 128))
    for kind in ("PNG", "TIFF"):
        assert decode(encode(image, kind))[0].tolist() == [list(RED), [255, 255, 255], [127, 127, 127]]


def test_grey_with_alpha_is_laid_over_white() -> None:
    image = Image.new("LA", (2, 1), (10, 255))
    image.putpixel((1, 0), (10, 0))
    assert decode(encode(image, "PNG"))[0].tolist() == [[10] * 3, [255] * 3]


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_palette_colour_becomes_white(kind: str) -> None:
    image = Image.new("P", (2, 1), 1)
    image.putpalette([0, 0, 0, *RED])
    image.putpixel((0, 0), 0)
    assert decode(encode(image, kind, transparency=0))[0].tolist() == [[255] * 3, list(RED)]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_an_animation_counts(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, (0, 0, 255), (0, 255, 0))]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **SAVE_OPTIONS.get(kind, {}))
    with Image.open(io.BytesIO(data)) as opened:
        assert getattr(opened, "n_frames", 1) == 3
    assert np.all(decode(data) == RED)


def test_an_empty_image_is_refused() -> None:
    with pytest.raises(ImageError, match="empty"):
        decode(b"")


@pytest.mark.parametrize("data", [b"hello", b"<svg/>", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\xff\xd8\xff", b"BM", b"GIF89a"])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert caught.value.http_status == 422


@pytest.mark.parametrize("kind", FORMATS)
def test_a_truncated_image_is_refused(kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    data = encode(noise, kind)
    with pytest.raises(ImageError):
        decode(data[: len(data) // 2])


@pytest.mark.parametrize("size", [(64_000, 64_000), (13_000, 13_000), (8_000, 6_251), (2**31 - 1, 1)])
def test_an_image_that_claims_too_many_pixels_is_refused_from_its_header(size: tuple[int, int]) -> None:
    with pytest.raises(ImageTooLargeError) as caught:
        decode(png_header(*size))
    assert caught.value.http_status == 413


def test_the_limit_itself_is_allowed() -> None:
    data = encode(picture(20, 10), "PNG")
    assert decode(data, max_pixels=200).shape == (10, 20, 3)
    with pytest.raises(ImageTooLargeError, match="20x10"):
        decode(data, max_pixels=199)


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (1000, 200), (200, 1000), (601, 599), (300, 300), (64, 64)])
@pytest.mark.parametrize("at_least", [(75, 75), (75, 150), (150, 75), (299, 299)])
def test_a_scaled_decode_is_never_smaller_than_needed(size: tuple[int, int], at_least: tuple[int, int]) -> None:
    width, height = size
    pixels = decode(encode(picture(width, height), "JPEG"), at_least=at_least)
    assert pixels.shape[0] >= min(at_least[0], height)
    assert pixels.shape[1] >= min(at_least[1], width)
    assert pixels.shape[0] / height == pytest.approx(pixels.shape[1] / width, rel=0.02)


def test_a_scaled_decode_of_a_turned_image_is_never_smaller_than_needed() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = decode(encode(picture(640, 320), "JPEG", exif=exif), at_least=(300, 100))
    assert pixels.shape[0] >= 300
    assert pixels.shape[1] >= 100


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size() -> None:
    assert decode(encode(picture(1600, 1200), "JPEG"), at_least=(150, 150)).shape == (150, 200, 3)


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "JPEG"])
def test_other_formats_are_decoded_in_full(kind: str) -> None:
    assert decode(encode(picture(64, 48), kind), at_least=(4, 4)).shape == (48, 64, 3)


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


def test_threads_do_not_disturb_each_other() -> None:
    large, small = png_header(10_000, 10_000), encode(picture(), "PNG")

    def attempt(number: int) -> str:
        try:
            return str(decode(small if number % 2 else large).shape)
        except ImageTooLargeError:
            return "too large"

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(attempt, range(200))) == ["too large", "(16, 24, 3)"] * 100
