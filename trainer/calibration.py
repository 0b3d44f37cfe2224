"""Makes scores mean what they say: one temperature, fitted on the held-out images, and how far off scores are.

Dividing all logits by one number changes no label, so accuracy stays; it only makes the model as sure as it is right.
Source: Guo et al. 2017, On Calibration of Modern Neural Networks (arXiv:1706.04599), section 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 15
"""Of equal width over 0..1. Source: Guo et al. 2017, section 5 (M = 15)."""
LOWEST, HIGHEST = 0.05, 20.0
"""Bounds of the temperature. Beyond, the fit has found that the logits say nothing, or that nothing is ever wrong."""

Floats = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What temperature scaling did.

    Attributes:
        temperature: Probabilities are softmax(logits / temperature); above 1 the raw scores were too sure.
        nll_before: Mean negative log-likelihood of the truth, nats, at temperature 1.
        nll_after: The same at `temperature`.
        ece_before: Expected calibration error (0..1, `BINS` bins) at temperature 1.
        ece_after: The same at `temperature`; optimistic, as it is judged on the images it was fitted on.
        ece_cross_fitted: The same when each half is judged at the other half's temperature; None below two images.
    """

    temperature: float
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float
    ece_cross_fitted: float | None

    def to_dict(self) -> dict[str, Any]:
        """As plain data for metrics.json."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Images whose best score is within one interval.

    Attributes:
        images: How many.
        score: Their mean best score.
        accuracy: The share on which it was right.
    """

    images: int
    score: float
    accuracy: float


def calibrate(logits: Floats, truth: Labels) -> Calibration:
    """Fit the temperature on held-out images and say what it changed.

    Args:
        logits: (N, classes), N at least 1.
        truth: (N,) label of every image.
    """
    temperature = fit_temperature(logits, truth)
    before, after = softmax(logits), softmax(logits, temperature)
    return Calibration(
        temperature=temperature,
        nll_before=likelihood(logits, truth),
        nll_after=likelihood(logits, truth, temperature),
        ece_before=calibration_error(before, truth),
        ece_after=calibration_error(after, truth),
        ece_cross_fitted=_cross_fitted_error(logits, truth),
    )


def fit_temperature(logits: Floats, truth: Labels) -> float:
    """The temperature within bounds at which the truth is most likely.

    When every image is right there is no such temperature (surer is always likelier, without end), nor any evidence of
    how sure a mistake looks: then it is 1.
    """
    values = np.asarray(logits, np.float64)
    if np.all(np.argmax(values, axis=1) == truth):
        return 1.0
    chosen = values[np.arange(len(truth)), truth]
    # In beta = 1 / T the likelihood is concave: halve the interval in which its slope changes sign.
    low, high = np.log(1 / HIGHEST), np.log(1 / LOWEST)
    for _ in range(60):
        middle = (low + high) / 2
        expected = np.sum(softmax(values, 1 / np.exp(middle)) * values, axis=1)
        if np.mean(expected - chosen) > 0:
            high = middle
        else:
            low = middle
    return float(np.clip(np.exp(-(low + high) / 2), LOWEST, HIGHEST))


def softmax(logits: Floats, temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Probabilities, (N, classes), of logits divided by the temperature."""
    scaled = np.asarray(logits, np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def likelihood(logits: Floats, truth: Labels, temperature: float = 1.0) -> float:
    """Mean negative log-likelihood of the truth, nats."""
    scaled = np.asarray(logits, np.float64) / temperature
    top = scaled.max(axis=1)
    total = top + np.log(np.sum(np.exp(scaled - top[:, np.newaxis]), axis=1))
    return float(np.mean(total - scaled[np.arange(len(truth)), truth]))


def bins(probabilities: Floats, truth: Labels) -> list[Bin]:
    """The images by best score, in `BINS` intervals of equal width; empty ones are left out."""
    return score_bins(probabilities.max(axis=1), np.argmax(probabilities, axis=1) == truth)


def score_bins(scores: Floats, right: npt.NDArray[np.bool_]) -> list[Bin]:
    """As `bins`, from what is left of the probabilities.

    Args:
        scores: (N,) best score of every image, 0 to 1.
        right: (N,) whether the label with that score is the truth.
    """
    number = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    return [
        Bin(images=int(inside.sum()), score=float(scores[inside].mean()), accuracy=float(right[inside].mean()))
        for inside in (number == index for index in range(BINS))
        if inside.any()
    ]


def calibration_error(probabilities: Floats, truth: Labels) -> float:
    """Expected calibration error: the mean distance of score and accuracy over the bins, weighted by their images.

    Source: Naeini et al. 2015, Obtaining Well Calibrated Probabilities Using Bayesian Binning, section 4; Guo et al.
    2017, equation 3. Few images make it larger than it is: even perfect scores don't get 0.
    """
    return expected_error(bins(probabilities, truth))


def expected_error(found: Sequence[Bin]) -> float:
    """The same from the bins, of at least one image."""
    return sum(item.images * abs(item.accuracy - item.score) for item in found) / sum(item.images for item in found)


def _cross_fitted_error(logits: Floats, truth: Labels) -> float | None:
    if len(truth) < 2:
        return None
    # Rows stand in order of class, so that every second one is a fair half.
    judged = np.empty(logits.shape, np.float64)
    for half in (0, 1):
        other = slice(1 - half, None, 2)
        judged[half::2] = softmax(logits[half::2], fit_temperature(logits[other], truth[other]))
    return calibration_error(judged, truth)
