"""Measures how far a network's first features (outputs of its first convolution) are from those of its training.

A batch normalisation stores the mean and the variance of the inputs of each channel in training. A network's first
batch normalisation follows the first convolution, so it shows a wrong scale of the pixels directly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from trainer.pixel_scale.scales import Scale

BATCH = 8
"""Images in one batch; the first features of one image are up to 4 MB."""


def measure_distances(
    backbone: Any, pixels: npt.NDArray[np.uint8], scales: Mapping[str, Scale]
) -> dict[str, float] | None:
    """Measure every scale's distance between the first features of some images and those of the network's training.

    Args:
        backbone: Keras model from scaled floats to features.
        pixels: (N, H, W, 3) uint8, RGB.
        scales: Name of each scale to the scale.

    Returns:
        distances: Name of each scale to the median over the channels of the Kullback-Leibler divergence, nats, of the
            images' normal distribution from that of the training; None for a network without batch normalisation, or
            for one that was never trained.

    Source: Kullback and Leibler 1951, On Information and Sufficiency; the divergence of two normal distributions.
    """
    layer = next((one for one in backbone.layers if isinstance(one, keras.layers.BatchNormalization)), None)
    if layer is None or not np.any(layer.moving_mean):
        return None
    mean, variance = (np.asarray(values, np.float64) for values in (layer.moving_mean, layer.moving_variance))
    variance = variance + layer.epsilon
    first = keras.Model(backbone.input, layer.input, name="first_features")
    found = {}
    for name, scale in scales.items():
        sums = np.zeros((2, len(mean)))
        count = 0
        for start in range(0, len(pixels), BATCH):
            features = first.predict_on_batch(scale.apply(pixels[start : start + BATCH])).astype(np.float64)
            features = features.reshape(-1, len(mean))
            sums += features.sum(axis=0), (features**2).sum(axis=0)
            count += len(features)
        ours, square = sums / count
        ratio = np.maximum(square - ours**2, 1e-12) / variance
        found[name] = float(np.median((ratio + (ours - mean) ** 2 / variance - 1 - np.log(ratio)) / 2))
    return found
