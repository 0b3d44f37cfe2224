"""Decoder of an envelope's bytes into an RGB Pillow image, with EXIF orientation applied.

When the caller says how many pixels it needs, large JPEGs are decoded at a fraction of their size (libjpeg's scaled
DCT), which is faster and nearer to an antialiased resize than full decoding. Other formats are held in memory once, 4
bytes per pixel, and twice when the image has to be rotated. The module doesn't import NumPy, because an agent uses it
to crop images and has no NumPy.
"""

from __future__ import annotations

import importlib
import io
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

from PIL import Image

from eaves.errors import ImageError, ImageTooLargeError
from eaves.images import MAX_PIXELS
from eaves.images.envelope import Envelope, open_envelope

MAX_SIDE = 65_535
"""Maximum number of pixels per side; JPEG's own limit. Pillow keeps a pointer per row, which for a 1x50000000 PNG takes
400 MB."""
WEBP_FACTOR = 3
"""Divisor of the maximum number of pixels for a WebP image: libwebp's animation decoder, the only one in Pillow, needs
16 bytes per
pixel."""
LARGE_PIXELS = 8_000_000
"""Number of decoded pixels above which `load` enters its argument `large`, a context such as a lock."""

FORMATS = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
}
"""Formats that cameras write, which Pillow may open, each with its plugin. Others (EPS, PDF, ...) would start
foreign parsers. Plugins are selected by name because Image.open imports five for the first image and all 40 for the
first TIFF.
"""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_CORRUPT = (
    *(OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, AttributeError, ArithmeticError),
    *(struct.error, AssertionError, Warning),  # warnings are exceptions only when Python is configured so
)
"""Exceptions that Pillow's plugins raise for corrupt files."""
_STRIP_PIXELS = 2**20
"""Number of pixels that `_by_strips` converts at a time, which bounds the memory that a conversion needs."""


def load(
    data: bytes,
    *,
    at_least: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
    large: AbstractContextManager[Any] | None = None,
) -> Image.Image:
    """Decode one image.

    Args:
        data: The encoded file.
        at_least: Smallest (height, width) that the caller needs; a JPEG may be scaled down by 2, 4 or 8 while neither
            side falls below it. None: full size.
        max_pixels: Maximum number of pixels (WebP: a third), checked in the header before anything is decoded.
        large: Context that is entered while more than `LARGE_PIXELS` are decoded; a lock decodes large images one at a
            time.

    Returns:
        The loaded image in mode RGB.

    Raises:
        ImageTooLargeError: When the image has more than `max_pixels`, or more than `MAX_SIDE` on one side.
        ImageError: When the image is not in one of `FORMATS`, truncated or corrupt.
    """
    if not data:
        raise ImageError("the image is empty (0 bytes)")
    envelope = open_envelope(data)
    if envelope.format == "WEBP":
        max_pixels //= WEBP_FACTOR
    _check_size(envelope.size, max_pixels)
    try:
        image = _open(envelope)
        _check_size(image.size, max_pixels)  # a file may have two headers with different sizes
        if at_least is not None and envelope.scalable:
            # The smallest scale whose sides still cover the needed size in either orientation.
            side = max(at_least)
            image.draft(None, (side, side))
        width, height = envelope.size if envelope.buffered and envelope.size else image.size
        with large if large is not None and width * height > LARGE_PIXELS else nullcontext():
            image.load()
            return _upright(_to_rgb(image), envelope.orientation)
    except _CORRUPT as error:
        raise ImageError(f"the image is corrupt: {str(error)[:200] or type(error).__name__}") from error


def _check_size(size: tuple[int, int] | None, max_pixels: int) -> None:
    if size is None:
        return
    width, height = size
    if min(size) < 1:
        raise ImageError(f"the image is {width}x{height} and has no pixels")
    if width * height > max_pixels or max(size) > MAX_SIDE:
        raise ImageTooLargeError(
            f"the image is {width}x{height}; at most {max_pixels / 1e6:.3g} megapixels and "
            f"{MAX_SIDE} pixels on a side are allowed",
            hint="send a smaller image",
        )


def _open(envelope: Envelope) -> Image.Image:
    module, name = FORMATS[envelope.format]
    plugin: Callable[[io.BytesIO], Image.Image] = getattr(importlib.import_module(module), name)
    return plugin(io.BytesIO(envelope.data))


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image if orientation == 1 else image.transpose(_TURNS[orientation])


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return _by_strips(image, _scale_16_bit)  # Pillow clips 16-bit grey to 255 instead of scaling it
    if image.mode == "F":
        return _by_strips(image, _scale_float)
    try:
        if image.has_transparency_data:
            return _by_strips(image, _lay_over_white)
        return image if image.mode == "RGB" else image.convert("RGB")
    except ValueError as error:  # it was decoded, so it isn't corrupt
        raise ImageError(
            f"images with the colour mode {image.mode} are not supported: {str(error)[:100]}",
            hint=("convert the image to RGB or grey"),
        ) from error


def _by_strips(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Convert an image to RGB, a few rows at a time."""
    whole = Image.new("RGB", image.size)
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        whole.paste(convert(strip), (0, top))
    return whole


def _lay_over_white(strip: Image.Image) -> Image.Image:
    if strip.mode == "La":  # Pillow has no direct conversion from grey with premultiplied alpha
        strip = strip.convert("LA")
    rgba = strip.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba).convert("RGB")


@cache
def _levels() -> list[int]:
    """Return the table that maps each 16-bit grey level to its 8-bit level, for `Image.point`."""
    return [level // 257 for level in range(2**16)]


def _scale_16_bit(strip: Image.Image) -> Image.Image:
    """Convert 16-bit grey, which some Pillow versions open as 32-bit: 0..65535 to 0..255, rounded down."""
    return strip.convert("I").point(_levels(), "L")


def _scale_float(strip: Image.Image) -> Image.Image:
    """Convert 32-bit floating point grey: 0..65535 to 0..255, rounded down; NaN becomes 0."""
    return strip.point(lambda value: value * (1 / 257) + 0).convert("L")
