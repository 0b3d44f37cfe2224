"""Logits whose temperature is known."""

from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.calibration import softmax

Floats = npt.NDArray[Any]
Labels = npt.NDArray[np.int64]


def sample_logits(
    temperature: float, *, images: int = 20_000, classes: int = 5, seed: int = 0, spread: float = 2.0
) -> tuple[Floats, Labels]:
    """Draw logits that are calibrated when divided by `temperature`, and truths drawn from what they then say.

    Args:
        temperature: What a perfect fit would find.
        images: Number of images.
        classes: Number of classes.
        seed: Seed of the draw.
        spread: Standard deviation of the calibrated logits; more makes more images right.

    Returns:
        logits: (images, classes) float32.
        truth: (images,) int64.
    """
    rng = np.random.default_rng(seed)
    honest = rng.normal(scale=spread, size=(images, classes))
    totals = softmax(honest).cumsum(axis=1)
    truth = np.minimum((rng.random((images, 1)) > totals).sum(axis=1), classes - 1)
    return (honest * temperature).astype(np.float32), truth
