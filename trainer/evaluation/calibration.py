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
    """Images whose label has a score within one interval.

    Attributes:
        images: Number of images in the bin.
        score: Mean score of the images' labels.
        accuracy: Share of the images whose label is right.
    """

    images: int
    score: float
    accuracy: float


def prior_correction(label_weights: Sequence[float]) -> Floats | None:
    """Return the bias of each class, (classes,), that is added to a weighted model's logits; None without weights.

    A model that was trained with class weights gives the probabilities that hold if the classes have their weighted
    shares. The bias log(share of the class / its weighted share), which is -log(weight) up to a constant, corrects them
    to the classes' shares among the training images.

    Source: King and Zeng, "Logistic Regression in Rare Events Data" (2001), section 4.1.
    """
    return -np.log(np.asarray(label_weights, np.float64)) if label_weights else None


def softmax(logits: Floats, temperature: float | Floats = 1.0, bias: Floats | None = None) -> npt.NDArray[np.float64]:
    """Return probabilities, (N, classes): the softmax of logits / temperature + bias.

    Args:
        logits: (N, classes).
        temperature: One number, or one for each image, (N,).
        bias: (classes,), the prior correction of each class; None means 0.
    """
    scaled = _scale(logits, temperature, bias)
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def likelihoods(
    logits: Floats, truth: Labels, temperature: float | Floats = 1.0, bias: Floats | None = None
) -> npt.NDArray[np.float64]:
    """Return the negative log-likelihood of each image's true label, (N,), nats; arguments as for `softmax`."""
    scaled = _scale(logits, temperature, bias)
    top = scaled.max(axis=1)
    total = top + np.log(np.sum(np.exp(scaled - top[:, np.newaxis]), axis=1))
    return np.asarray(total - scaled[np.arange(len(truth)), truth])


def score_bins(scores: Floats, right: npt.NDArray[np.bool_]) -> list[ScoreBin]:
    """Group images by the score of their label into `BINS` intervals of equal width; empty intervals are left out.

    Args:
        scores: (N,) score of every image's label, 0 to 1.
        right: (N,) bool, whether that label is the truth.
    """
    number = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    return [
        ScoreBin(images=int(inside.sum()), score=float(scores[inside].mean()), accuracy=float(right[inside].mean()))
        for inside in (number == index for index in range(BINS))
        if inside.any()
    ]


def expected_error(found: Sequence[ScoreBin]) -> float:
    """Return the expected calibration error from bins: the mean difference between score and accuracy over the images.

    Source: Naeini et al. 2015, Obtaining Well Calibrated Probabilities Using Bayesian Binning, section 4; Guo et al.
    2017, equation 3. With few images the result is too large: even perfect scores don't get 0.
    """
    return sum(item.images * abs(item.accuracy - item.score) for item in found) / sum(item.images for item in found)


def errors_by_label(scores: Floats, predicted: Labels, truth: Labels, labels: int) -> list[float | None]:
    """Return for each label the calibration error of the images that get it; None for a label that no image gets.

    Args:
        scores: (N,) score of every image's label, 0 to 1.
        predicted: (N,) int64, that label.
        truth: (N,) int64, true label of every image.
        labels: Number of labels.
    """
    found = [score_bins(scores[predicted == label], (truth == label)[predicted == label]) for label in range(labels)]
    return [expected_error(bins_of_label) if bins_of_label else None for bins_of_label in found]


def _scale(logits: Floats, temperature: float | Floats, bias: Floats | None) -> npt.NDArray[np.float64]:
    divided = np.asarray(logits, np.float64) / np.reshape(np.asarray(temperature, np.float64), (-1, 1))
    return divided if bias is None else divided + bias
