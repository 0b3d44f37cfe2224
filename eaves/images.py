"""Encoded bytes > (H, W, 3) uint8 RGB, the one decoder of training, conversion and serving.

What each case becomes: EXIF orientation is applied; grey, palette and CMYK become RGB; 16-bit grey is scaled to 8;
alpha is laid over white; of an animation the first frame counts. Large JPEGs are decoded at a fraction of their size
(libjpeg's scaled DCT) when the caller says how many pixels it needs, which is faster and nearer to an antialiased
resize than decoding in full.
"""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from eaves.errors import ImageError, ImageTooLargeError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
"""What Pillow may open: the formats cameras write. Others (EPS, PDF, ...) would start foreign parsers."""
MAX_PIXELS = 50_000_000
"""Refused above, from the header: 50 megapixels are 150 MB once decoded."""

Pixels = npt.NDArray[np.uint8]

_CORRUPT = (OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, ArithmeticError, struct.error)
"""What Pillow's plugins raise on corrupt files."""


def decode(data: bytes, *, at_least: tuple[int, int] | None = None, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Decode one image.

    Args:
        data: The encoded file.
        at_least: Smallest (height, width) the caller needs; a JPEG may come back scaled down by 2, 4 or 8 as long as
            neither side falls below it. None: full size.
        max_pixels: Refuse images with more, judged from the header before anything is decoded.

    Returns:
        image: (H, W, 3) uint8, RGB.

    Raises:
        ImageTooLargeError: More than `max_pixels`.
        ImageError: Not one of `FORMATS`, truncated or corrupt.
    """
    if not data:
        raise ImageError("the image is empty (0 bytes)")
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
        width, height = image.size
        if width * height > max_pixels:
            raise ImageTooLargeError(
                f"the image is {width}x{height}, more than {max_pixels / 1e6:.0f} megapixels",
                hint="send a smaller image",
            )
        if at_least is not None and image.format == "JPEG":
            _draft(image, at_least)
        return np.asarray(_to_rgb(image))
    except UnidentifiedImageError as error:
        raise ImageError(f"not an image in {', '.join(FORMATS)} ({len(data)} bytes)") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # The warning only where warnings are errors: silencing it here (`catch_warnings`) would not be safe in threads.
        raise ImageTooLargeError(f"the image is too large: {error}", hint="send a smaller image") from error
    except _CORRUPT as error:
        raise ImageError(f"the image is corrupt: {str(error)[:200]}") from error


def _draft(image: Image.Image, at_least: tuple[int, int]) -> None:
    """Ask libjpeg for the smallest scale whose sides, either way round, still cover `at_least`."""
    side = max(at_least)
    image.draft(None, (side, side))


def _to_rgb(image: Image.Image) -> Image.Image:
    image.seek(0)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        # Pillow clips 16-bit grey to 255 instead of scaling it.
        image = Image.fromarray((np.asarray(image).astype(np.uint32) // 257).astype(np.uint8))
    elif image.mode in ("I", "F"):
        image = Image.fromarray(_stretch(np.asarray(image)))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, rgba)
    return image if image.mode == "RGB" else image.convert("RGB")


def _stretch(values: npt.NDArray[Any]) -> Pixels:
    """32-bit grey (16-bit PNGs open as such in some Pillow versions): 0..65535 onto 0..255, NaN onto 0."""
    return np.nan_to_num(np.clip(values / 257.0, 0, 255)).astype(np.uint8)
