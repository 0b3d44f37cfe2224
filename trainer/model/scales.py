"""Table of the pixel scales that weights may expect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Map from pixels, 0 to 255, to a network's input: multiply, add, then normalise each channel.

    Attributes:
        name: Value of `train.scale`.
        words: Range of the result, for people.
        multiply: Factor for all pixel values.
        add: Number that is added after multiplying.
        mean: Number that is subtracted from each channel after adding, RGB; empty for none.
        std: Number that each channel is divided by at the end, RGB; empty for none.
    """

    name: str
    words: str
    multiply: float
    add: float
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def factors(self) -> tuple[float, ...]:
        """Return the factor for the pixels of each channel, RGB; one number if all channels have the same."""
        return tuple(self.multiply / std for std in self.std) or (self.multiply,)

    def offsets(self) -> tuple[float, ...]:
        """Return the numbers that are added after multiplying by `factors`, one for each factor."""
        channels = zip(self.mean, self.std, strict=True)
        return tuple((self.add - mean) / std for mean, std in channels) or (self.add,)

    def apply(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Scale pixels; the result is bit for bit the same as that of the model's layer `scaling`.

        Args:
            pixels: (N, H, W, 3) uint8, RGB.

        Returns:
            scaled: (N, H, W, 3) float32.
        """
        factors, offsets = (np.asarray(values, np.float32) for values in (self.factors(), self.offsets()))
        return np.asarray(pixels.astype(np.float32) * factors + offsets)


UNIT = Scale(name="unit", words="0 to 1", multiply=1 / 255, add=0.0)
SYMMETRIC = Scale(name="symmetric", words="-1 to 1", multiply=1 / 127.5, add=-1.0)
"""Pixels from -1 to 1. Source: keras/src/applications/imagenet_utils.py, `_preprocess_numpy_input`, mode "tf"."""
TORCH = Scale(
    name="torch",
    words="0 to 1, then each channel normalised by ImageNet's mean and deviation",
    multiply=1 / 255,
    add=0.0,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
"""Pixels from 0 to 1, then normalised by the mean and deviation of ImageNet. Source:
keras/src/applications/imagenet_utils.py, `_preprocess_numpy_input`, mode "torch"."""
LITE = Scale(name="lite", words="-0.992 to 1", multiply=1 / 128, add=-127 / 128)
"""(pixels - 127) / 128, exact in float32; EfficientNet-Lite's own, which no measurement can tell from `SYMMETRIC`.
Source: github.com/tensorflow/tpu, models/official/efficientnet/lite/efficientnet_lite_builder.py, MEAN_RGB and
STDDEV_RGB."""
RAW = Scale(name="raw", words="0 to 255", multiply=1.0, add=0.0)

SCALES: dict[str, Scale] = {scale.name: scale for scale in (UNIT, SYMMETRIC, TORCH, RAW)}
"""Name of each scale to the scale: those that `train.scale` may name, and that a file of weights is probed for."""


def find_scale(name: str) -> Scale:
    """Return the scale of this name, also one that can't be measured.

    Raises:
        KeyError: There is no such scale.
    """
    return (SCALES | {LITE.name: LITE})[name]
