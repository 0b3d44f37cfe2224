"""One image as an array."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from eaves.images.decoder import MAX_PIXELS, load

Pixels = npt.NDArray[np.uint8]


def decode(data: bytes, *, at_least: tuple[int, int] | None = None, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Decode one image into an array.

    Args:
        data: As `load`.
        at_least: As `load`.
        max_pixels: As `load`.

    Returns:
        image: (H, W, 3) uint8, RGB.

    Raises:
        ImageError: As `load`.
    """
    return np.asarray(load(data, at_least=at_least, max_pixels=max_pixels))
