"""Measures a classifier's scores: the likelihood of the truth, and the difference between scores and accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 15
"""Number of bins of equal width over 0..1. Source: Guo et al. 2017, section 5 (M = 15)."""
Floats = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreBin:
    """Images whose best score is within one interval.

    Attributes:
        images: Number of images in the bin.
        score: Mean of the images' best scores.
        accuracy: Share of the images whose best label is right.
    """

    images: int
    score: float
    accuracy: float


def softmax(logits: Floats, temperature: float | Floats = 1.0) -> npt.NDArray[np.float64]:
    """Return probabilities, (N, classes), of logits divided by one temperature, or by one for each image, (N,)."""
    scaled = _divide(logits, temperature)
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def likelihoods(logits: Floats, truth: Labels, temperature: float | Floats = 1.0) -> npt.NDArray[np.float64]:
    """Return the negative log-likelihood of each image's true label, (N,), nats.

    The logits are divided by `temperature`: one number, or one for each image, (N,).
    """
    scaled = _divide(logits, temperature)
    top = scaled.max(axis=1)
    total = top + np.log(np.sum(np.exp(scaled - top[:, np.newaxis]), axis=1))
    return np.asarray(total - scaled[np.arange(len(truth)), truth])


def bins(probabilities: Floats, truth: Labels) -> list[ScoreBin]:
    """Group the images by their best score into `BINS` intervals of equal width; empty intervals are left out."""
    return score_bins(probabilities.max(axis=1), np.argmax(probabilities, axis=1) == truth)


def score_bins(scores: Floats, right: npt.NDArray[np.bool_]) -> list[ScoreBin]:
    """Group images by their best score into `BINS` intervals of equal width; empty intervals are left out.

    Args:
        scores: (N,) best score of every image, 0 to 1.
        right: (N,) bool, whether the label with that score is the truth.
    """
    number = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    return [
        ScoreBin(images=int(inside.sum()), score=float(scores[inside].mean()), accuracy=float(right[inside].mean()))
        for inside in (number == index for index in range(BINS))
        if inside.any()
    ]


def calibration_error(probabilities: Floats, truth: Labels) -> float:
    """Return the expected calibration error: the mean difference between score and accuracy over the bins.

    The mean is weighted by the number of images in each bin.

    Source: Naeini et al. 2015, Obtaining Well Calibrated Probabilities Using Bayesian Binning, section 4; Guo et al.
    2017, equation 3. With few images the result is too large: even perfect scores don't get 0.
    """
    return expected_error(bins(probabilities, truth))


def expected_error(found: Sequence[ScoreBin]) -> float:
    """Return the expected calibration error from bins, none of which may be empty."""
    return sum(item.images * abs(item.accuracy - item.score) for item in found) / sum(item.images for item in found)


def _divide(logits: Floats, temperature: float | Floats) -> npt.NDArray[np.float64]:
    return np.asarray(logits, np.float64) / np.reshape(np.asarray(temperature, np.float64), (-1, 1))
