"""An envelope's bytes > a Pillow image: EXIF orientation applied, everything as RGB.

Large JPEGs are decoded at a fraction of their size (libjpeg's scaled DCT) when the caller says how many pixels it
needs, which is faster and nearer to an antialiased resize than decoding in full. The formats that can't be drafted
are in memory once, 4 bytes a pixel, and twice where they have to be turned. NumPy is not imported, as an agent, which
crops images by this module, doesn't have it.
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
from eaves.images.envelope import Envelope, open_envelope

MAX_PIXELS = 50_000_000
"""Refused above, from the header: 50 megapixels are 200 MB once decoded."""
MAX_SIDE = 65_535
"""Pixels; JPEG's own limit. Pillow keeps a pointer for each row, which of a 1x50000000 PNG are 400 MB."""
WEBP_FACTOR = 3
"""By which fewer pixels a WebP may have: libwebp's animation decoder, Pillow's only one, needs 16 bytes for each."""
LARGE_PIXELS = 8_000_000
"""Decoded ones; above, `large` is asked for."""

FORMATS = {
    "JPEG": ("JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PngImagePlugin", "PngImageFile"),
    "WEBP": ("WebPImagePlugin", "WebPImageFile"),
    "BMP": ("BmpImagePlugin", "BmpImageFile"),
    "TIFF": ("TiffImagePlugin", "TiffImageFile"),
    "GIF": ("GifImagePlugin", "GifImageFile"),
}
"""What Pillow may open, and its plugin: the formats cameras write. Others (EPS, PDF, ...) would start foreign parsers.

By name and not by Image.open, which imports five plugins for the first image and all 40 for the first TIFF.
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
    *(struct.error, AssertionError, Warning),  # a warning only where warnings are errors
)
"""What Pillow's plugins raise on corrupt files."""
_STRIP_PIXELS = 2**20
"""Converted at a time where a conversion needs memory of its own."""


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
        at_least: Smallest (height, width) the caller needs; a JPEG may come back scaled down by 2, 4 or 8 as long as
            neither side falls below it. None: full size.
        max_pixels: Refuse images with more (WebP: a third), judged from the header before anything is decoded.
        large: Entered while more than `LARGE_PIXELS` are decoded; a lock makes large images take turns.

    Returns:
        image: Loaded, of mode RGB.

    Raises:
        ImageTooLargeError: More than `max_pixels`, or than `MAX_SIDE` on one side.
        ImageError: Not one of `FORMATS`, truncated or corrupt.
    """
    if not data:
        raise ImageError("the image is empty (0 bytes)")
    envelope = open_envelope(data)
    if envelope.format == "WEBP":
        max_pixels //= WEBP_FACTOR
    _check_size(envelope.size, max_pixels)
    try:
        image = _open(envelope)
        _check_size(image.size, max_pixels)  # a header may say it twice
        if at_least is not None and envelope.scalable:
            # The smallest scale whose sides, either way round, still cover what is needed.
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
        raise ImageError(f"the image is {width}x{height}: it has no pixels")
    if width * height > max_pixels or max(size) > MAX_SIDE:
        raise ImageTooLargeError(
            f"the image is {width}x{height}, more than {max_pixels / 1e6:.3g} megapixels or {MAX_SIDE} on a side",
            hint="send a smaller image",
        )


def _open(envelope: Envelope) -> Image.Image:
    module, name = FORMATS[envelope.format]
    plugin: Callable[[io.BytesIO], Image.Image] = getattr(importlib.import_module(f"PIL.{module}"), name)
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
            f"colours of the kind {image.mode} are not taken: {str(error)[:100]}", hint="send the image as RGB or grey"
        ) from error


def _by_strips(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """An image in RGB, converted a few rows at a time."""
    whole = Image.new("RGB", image.size)
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        whole.paste(convert(strip), (0, top))
    return whole


def _lay_over_white(strip: Image.Image) -> Image.Image:
    if strip.mode == "La":  # Pillow knows no straight way from grey multiplied by its alpha
        strip = strip.convert("LA")
    rgba = strip.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba).convert("RGB")


@cache
def _levels() -> list[int]:
    """Each level of 16 bits as one of 8 bits; Pillow takes levels beyond either end as the nearest end."""
    return [level // 257 for level in range(2**16)]


def _scale_16_bit(strip: Image.Image) -> Image.Image:
    """16-bit grey, or 32-bit as which some Pillow versions open it: 0..65535 onto 0..255, rounded down."""
    return strip.convert("I").point(_levels(), "L")


def _scale_float(strip: Image.Image) -> Image.Image:
    """32-bit floating point grey: 0..65535 onto 0..255, rounded down, NaN onto 0."""
    return strip.point(lambda value: value * (1 / 257) + 0).convert("L")
