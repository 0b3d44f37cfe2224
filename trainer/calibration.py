"""Fits the temperature of a model's logits if held-out images show that it helps, and computes scores and likelihoods.

Dividing all logits by one number changes no label and so no accuracy; only the scores change. A temperature that is
evaluated on the images that it was fitted on always seems to help. Therefore every image is evaluated at a temperature
that was fitted without it and its group, and the temperature stays 1 unless the true labels become more likely by more
than noise. The scores are softmax(logits / temperature + bias), where the bias is the prior correction of a training
with class weights (`prior_correction`); the label stays the one with the largest logit.

Source: Guo et al. 2017, On Calibration of Modern Neural Networks (arXiv:1706.04599), section 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.grouped_statistics import mean_interval

Labels = npt.NDArray[np.int64]
BINS = 15
"""Number of bins of equal width over 0..1. Source: Guo et al. 2017, section 5 (M = 15)."""
Floats = npt.NDArray[np.floating[Any]]


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


def calibration_error(scores: Floats, right: npt.NDArray[np.bool_]) -> float:
    """Return the expected calibration error: the mean distance of score and accuracy over `BINS` bins of equal width.

    With few images the result is too large: even perfect scores don't get 0.

    Args:
        scores: (N,) score of every image's label, 0 to 1.
        right: (N,) bool, whether that label is the truth.

    Source: Naeini et al. 2015, Obtaining Well Calibrated Probabilities Using Bayesian Binning, section 4; Guo et al.
    2017, equation 3.
    """
    number = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    return float(np.abs(np.bincount(number, scores - right)).sum() / len(scores))


def _scale(logits: Floats, temperature: float | Floats, bias: Floats | None) -> npt.NDArray[np.float64]:
    divided = np.asarray(logits, np.float64) / np.reshape(np.asarray(temperature, np.float64), (-1, 1))
    return divided if bias is None else divided + bias


MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
"""Bounds of the fitted temperature. It reaches a bound only if the logits carry no information or no answer is wrong.
"""
MIN_GROUPS = 50
"""Minimum number of groups of held-out images that a temperature is fitted on; an image without a group is one. In
simulations with 30 images, half of the temperatures that seemed to help (confidence interval of the gain above 0) made
the scores of new images worse; with 50 and more images nearly none did."""
FOLDS = 5
"""Number of folds of the held-out images' groups; each fold is evaluated at the temperature that is fitted on the other
folds."""


def calibrate(
    logits: Floats, truth: Labels, bias: Floats | None = None, groups: Sequence[str] | None = None
) -> dict[str, Any]:
    """Decide by held-out images whether logits are divided by a temperature, and by which value.

    Args:
        logits: (N, classes), logits of the held-out images, N at least 1.
        truth: (N,) int64, label of every image.
        bias: (classes,), added to the logits after the division; None means 0.
        groups: Name of each image's group; None means that every image is a group of its own.

    Returns:
        The `calibration` of run.json, plain data: the `temperature` and the evidence for it, as docs/model.md
        describes them.
    """
    numbers = _number(groups, len(truth))
    count = int(numbers.max()) + 1
    fitted, apart = fit_temperature(logits, truth, bias), cross_fit(logits, truth, bias, groups)
    before, after = likelihoods(logits, truth, 1.0, bias), likelihoods(logits, truth, apart, bias)
    interval = mean_interval(before - after, numbers)
    helps = count >= MIN_GROUPS and interval[0] > 0
    predicted = np.argmax(logits, axis=1)
    raw, served = (softmax(logits, by, bias)[np.arange(len(truth)), predicted] for by in (1.0, apart if helps else 1.0))
    right = predicted == truth
    decision = f"{fitted:.3f}" if helps else "1"
    if bool(np.all(right)):
        why = "the model is right on all of them, so the scores of wrong answers can't be measured"
    elif count < MIN_GROUPS:
        why = f"{MIN_GROUPS} groups are needed to fit one (an image without a group is one)"
    else:
        why = (
            f"{'they show' if helps else 'they do not show'} that {fitted:.3f} lowers their negative log-likelihood "
            f"({before.mean():.3f} nats at temperature 1, {after.mean():.3f} after scaling; gain {interval[0]:+.3f} to "
            f"{interval[1]:+.3f} with 95 % confidence, each image measured at a temperature that was fitted without it)"
        )
    return {
        "temperature": fitted if helps else 1.0,
        "fitted_temperature": fitted,
        "images": len(truth),
        "groups": count,
        "nll_before": float(np.mean(before)),
        "nll_after": float(np.mean(after)),
        "nll_gain_interval_95": list(interval) if count > 1 else None,
        "ece_before": calibration_error(raw, right),
        "ece_after": calibration_error(served, right),
        "text": f"the temperature is {decision} by {len(truth)} held-out images of {count} groups: {why}",
    }


def cross_fit(
    logits: Floats, truth: Labels, bias: Floats | None = None, groups: Sequence[str] | None = None
) -> npt.NDArray[np.float64]:
    """Return for every image, (N,), the temperature that is fitted on the groups of the other folds.

    Args:
        logits: (N, classes), in order of class, so that every `FOLDS`th group is a fair part.
        truth: (N,) int64, label of every image.
        bias: Argument of `calibrate`.
        groups: Argument of `calibrate`.
    """
    fold = _number(groups, len(truth)) % FOLDS
    temperatures = np.ones(len(truth))
    for number in range(FOLDS):
        temperatures[fold == number] = fit_temperature(logits[fold != number], truth[fold != number], bias)
    return temperatures


def fit_temperature(logits: Floats, truth: Labels, bias: Floats | None = None) -> float:
    """Return the temperature within the bounds at which the truth is most likely.

    When every image is classified correctly, the result is 1: then a lower temperature always makes the truth more
    likely, so there is no best one.
    """
    if np.all(np.argmax(logits, axis=1) == truth):
        return 1.0
    values = np.asarray(logits, np.float64)
    chosen = values[np.arange(len(truth)), truth]
    # In beta = 1 / T the likelihood is concave: halve the interval in which its slope changes sign.
    low, high = np.log(1 / MAX_TEMPERATURE), np.log(1 / MIN_TEMPERATURE)
    for _ in range(60):
        middle = (low + high) / 2
        expected = np.sum(softmax(values, 1 / np.exp(middle), bias) * values, axis=1)
        if np.mean(expected - chosen) > 0:
            high = middle
        else:
            low = middle
    return float(np.clip(np.exp(-(low + high) / 2), MIN_TEMPERATURE, MAX_TEMPERATURE))


def _number(groups: Sequence[str] | None, images: int) -> npt.NDArray[np.int64]:
    """Return the number of each image's group, (N,); groups are numbered in the order of their first images."""
    if groups is None:
        return np.arange(images)
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in groups], np.int64)
