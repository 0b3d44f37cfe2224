"""Decoding of one image into an array."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from eaves.images import MAX_PIXELS
from eaves.images.decoder import load

Pixels = npt.NDArray[np.uint8]


def decode(data: bytes, *, at_least: tuple[int, int] | None = None, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Decode one image into an array.

    Args:
        data: The encoded file.
        at_least: Smallest (height, width) that is needed, see `load`.
        max_pixels: Maximum number of pixels, see `load`.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        ImageError: When the image can't be decoded, see `load`.
    """
    return np.asarray(load(data, at_least=at_least, max_pixels=max_pixels))
