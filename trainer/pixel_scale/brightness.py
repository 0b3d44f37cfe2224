"""Measures whether images are as bright and as rich in contrast as the photos that networks are trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BRIGHTEST = 160.0
"""Largest mean grey value, 0 to 255, at which the distance of the first features decides the scale.

Measured with Inception V3 as if it had been trained with each of `unit`, `symmetric` and `torch`, on 68 sets of images:
photos of flowers and of a drawn part at five contrasts and two to four brightnesses each, and a flat part on a plain
background. In 23 of 204 cases a wrong scale had the smallest distance, and the next distance was at least 3 times as
large; in 21 of them the images' spread was at most 34, in the other two it was 40 and 49 and their brightness 187 and
206. Unchanged photos of flowers have a brightness of 87 to 131 and a spread of 43 to 57.
"""
LEAST_SPREAD = 40.0
"""Smallest standard deviation of the grey values within an image at which the distance decides; see `BRIGHTEST`.

A bound of 36 was tried on 33 further sets (other photos of flowers, text, large flat parts): of 35 decisions one was
wrong, at a spread of 36. With 40 all 48 decisions on both collections were right.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBrightness:
    """Brightness and contrast of some images.

    Attributes:
        brightness: Mean of the images' grey values, 0 to 255.
        spread: Median over the images of the standard deviation of the grey values within one.
    """

    brightness: float
    spread: float

    def find_oddity(self) -> str:
        """Return how the images differ from ordinary photos, as the end of a sentence, or an empty text."""
        if self.spread < LEAST_SPREAD:
            return (
                f"the spread of their brightness is {self.spread:.0f} grey values (ordinary photos have at "
                f"least {LEAST_SPREAD:.0f})"
            )
        if self.brightness > BRIGHTEST:
            return f"their brightness is {self.brightness:.0f} of 255 (ordinary photos have at most {BRIGHTEST:.0f})"
        return ""


def measure_brightness(pixels: npt.NDArray[np.uint8]) -> ImageBrightness:
    """Measure the brightness and contrast of images.

    Args:
        pixels: (N, H, W, 3) uint8, RGB, N at least 1.
    """
    grey = [image.mean(axis=2, dtype=np.float64) for image in pixels]
    return ImageBrightness(
        brightness=float(np.mean([values.mean() for values in grey])),
        spread=float(np.median([values.std() for values in grey])),
    )
