"""Making of a thumbnail: an encoded image > a small JPEG without metadata."""

from __future__ import annotations

import io
import threading

from PIL import Image

from eaves.errors import ImageError
from eaves.images import MAX_PIXELS
from eaves.images.decoder import load
from eaves.images.envelope import open_envelope

SIDE = 320
"""Longest side of a thumbnail, pixels: a tile of 160 pixels on a screen with two dots per pixel."""
QUALITY = 75
"""JPEG quality; a photo then takes about 10 KB."""
MAX_WHOLE_PIXELS = 25_000_000
"""Maximum number of pixels of an image that must be decoded at its full size, which takes 100 MB; for others, such as
most JPEGs, `eaves.images.MAX_PIXELS` applies."""

_one_at_a_time = threading.Lock()
"""Held while an image is decoded, so that the memory is needed once, however many threads ask."""


def make_thumbnail(data: bytes) -> bytes | None:
    """Return a JPEG of the image whose longest side has at most `SIDE` pixels; None when it can't be decoded.

    Args:
        data: The encoded file, from anybody.
    """
    try:
        with _one_at_a_time:
            return _encode(_load_small(data))
    except (ImageError, MemoryError):
        return None


def _load_small(data: bytes) -> Image.Image:
    envelope = open_envelope(data)
    small = envelope.scalable and not envelope.buffered
    size = envelope.size or (1, 1)
    # libjpeg scales while neither side falls below what is needed: the shorter side of the thumbnail is what decides.
    needed = max(1, -(-SIDE * min(size) // max(*size, 1)))
    image = load(data, at_least=(needed, needed), max_pixels=MAX_PIXELS if small else MAX_WHOLE_PIXELS)
    image.thumbnail((SIDE, SIDE))
    return image


def _encode(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()
