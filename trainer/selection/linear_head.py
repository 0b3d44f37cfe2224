"""Linear heads on fixed features: the closed form of ridge regression, and softmax regression.

Both begin with sums over the images (`FeatureSums`). Sums can be subtracted, so a fit without some of the images needs
no second look at the images that stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from trainer.evaluation.calibration import fit_temperature, softmax

CHUNK = 1024
"""Number of images that are converted to 64-bit floats at once."""
NEGLIGIBLE = 1e-12
"""Share of the largest squared length below which a direction of the features is rounding error."""
MAX_STEPS = 100
"""Maximum number of steps of a softmax fit. On features of 500 photos of flowers and 240 of parts, the accuracy on
other photos was the same from 50 steps on."""
ENOUGH_NATS = 1e-6
"""Decrease of the loss, nats, that a step must promise; the fit ends when it promises less."""

Floats = npt.NDArray[np.float64]
Features = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int64]
HeadKind = Literal["ridge", "softmax"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRecipe:
    """How a head is fitted.

    Attributes:
        kind: `ridge`: least squares onto one column for each class; `softmax`: the most likely labels.
        strength: Weight of the L2 penalty. For `ridge` a multiple of the mean squared distance of the features from
            their mean; for `softmax` divided by the number of images, on features of variance 1.
    """

    kind: HeadKind
    strength: float

    def __str__(self) -> str:
        """Return the recipe as text: `softmax, L2 20`."""
        return f"{self.kind}, L2 {self.strength:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearHead:
    """A linear map from features to one score for each class.

    Attributes:
        kernel: (features, classes).
        bias: (classes,).
    """

    kernel: Floats
    bias: Floats

    def __call__(self, features: Features) -> Floats:
        """Return the scores, (N, classes), of features, (N, features)."""
        return np.asarray(features @ self.kernel + self.bias)

    def divide(self, number: float) -> LinearHead:
        """Return the head whose scores are those of this one divided by a number."""
        return LinearHead(kernel=self.kernel / number, bias=self.bias / number)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSums:
    """Sums over some labelled images, from which a ridge regression is solved.

    Attributes:
        weight: Sum of the images' weights.
        features: (D,) weighted sum of the features.
        gram: (D, D) weighted sum of the products of all pairs of features.
        cross: (D, classes) weighted sum of the features of each class.
        targets: (classes,) sum of the weights of each class.
    """

    weight: float
    features: Floats
    gram: Floats
    cross: Floats
    targets: Floats

    def subtract(self, other: FeatureSums) -> FeatureSums:
        """Return the sums without the images of `other`, which must be among those of this one."""
        return FeatureSums(
            weight=self.weight - other.weight,
            features=self.features - other.features,
            gram=self.gram - other.gram,
            cross=self.cross - other.cross,
            targets=self.targets - other.targets,
        )

    def decompose(self) -> DecomposedSums:
        """Return the sums in the principal axes of the features, in which every ridge is solved at once."""
        mean = self.features / self.weight
        values, axes = np.linalg.eigh(self.gram - self.weight * np.outer(mean, mean))
        base = self.targets / self.weight
        return DecomposedSums(
            weight=self.weight,
            mean=mean,
            base=base,
            axes=axes,
            values=np.maximum(values, 0.0),
            cross=axes.T @ (self.cross - np.outer(self.features, base)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DecomposedSums:
    """Centred sums in the principal axes of the features.

    Attributes:
        weight: Sum of the images' weights.
        mean: (D,) mean of the features.
        base: (classes,) share of each class.
        axes: (D, D) principal axes, one in each column.
        values: (D,) sum of the squared distances from the mean along each axis.
        cross: (D, classes) centred sums of the features of each class, along the axes.
    """

    weight: float
    mean: Floats
    base: Floats
    axes: Floats
    values: Floats
    cross: Floats

    @property
    def spread(self) -> float:
        """Mean squared distance of the features from their mean; the smallest number instead of 0."""
        return max(float(self.values.sum()) / self.weight, float(np.finfo(np.float64).tiny))

    def solve(self, strength: float) -> LinearHead:
        """Return the ridge regression of the given strength onto one column for each class.

        Source: Hoerl and Kennard 1970, Ridge Regression.
        """
        kernel = self.axes @ (self.cross / (self.values + strength * self.spread)[:, np.newaxis])
        return LinearHead(kernel=kernel, bias=self.base - self.mean @ kernel)


def sum_features(features: Features, labels: Labels, classes: int, weights: Floats) -> FeatureSums:
    """Sum the features of labelled images.

    Args:
        features: (N, D) finite floats.
        labels: (N,) index of each image's class.
        classes: Number of classes.
        weights: (N,) weight of each image.
    """
    size = features.shape[1]
    gram, cross = np.zeros((size, size)), np.zeros((size, classes))
    targets = np.asarray(np.bincount(labels, weights, classes), np.float64)
    for start in range(0, len(features), CHUNK):
        part = features[start : start + CHUNK].astype(np.float64)
        weighted = part * weights[start : start + CHUNK, np.newaxis]
        gram += weighted.T @ part
        cross += weighted.T @ np.eye(classes)[labels[start : start + CHUNK]]
    return FeatureSums(weight=float(weights.sum()), features=cross.sum(axis=1), gram=gram, cross=cross, targets=targets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """Turns features into as many dimensions as there are images, if that is fewer; all their products stay the same.

    Attributes:
        mean: (D,) mean of the features.
        basis: (D, R) directions of the new dimensions; None if the features stay as they are.
    """

    mean: Floats
    basis: Floats | None

    def apply(self, features: Features) -> Features:
        """Return the turned features, (N, R)."""
        return features if self.basis is None else np.asarray((features - self.mean) @ self.basis)

    def undo(self, head: LinearHead) -> LinearHead:
        """Return the head on the features as they were."""
        if self.basis is None:
            return head
        kernel = self.basis @ head.kernel
        return LinearHead(kernel=kernel, bias=head.bias - self.mean @ kernel)


def find_rotation(features: Features) -> Rotation:
    """Return the rotation of the features of some images, (N, D)."""
    mean = features.mean(axis=0, dtype=np.float64)
    if len(features) >= features.shape[1]:
        return Rotation(mean=mean, basis=None)
    centred = features - mean
    squares, axes = np.linalg.eigh(centred @ centred.T)
    kept = squares >= squares[-1] * NEGLIGIBLE  # all of them, if the features are alike
    lengths = np.sqrt(np.maximum(squares[kept], np.finfo(np.float64).tiny))
    return Rotation(mean=mean, basis=centred.T @ (axes[:, kept] / lengths))


def fit_linear(recipe: HeadRecipe, features: Features, labels: Labels, classes: int, weights: Floats) -> LinearHead:
    """Fit one head to all given images; the arguments are those of `sum_features`."""
    rotation = find_rotation(features)
    turned = rotation.apply(features)
    sums, size = sum_features(turned, labels, classes, weights), features.shape[1]
    (head,) = fit_heads((recipe,), sums, turned, labels, weights, dimensions=size)
    return rotation.undo(head)


def fit_heads(
    recipes: tuple[HeadRecipe, ...],
    sums: FeatureSums,
    features: Features,
    labels: Labels,
    weights: Floats,
    *,
    dimensions: int = 0,
) -> list[LinearHead]:
    """Fit a head by each recipe.

    Args:
        recipes: How the heads are fitted.
        sums: Result of `sum_features` for the same images.
        features: (N, D) finite floats.
        labels: (N,) index of each image's class.
        weights: (N,) weight of each image.
        dimensions: Number of features before a rotation, for the variance of one; 0 means D.
    """
    whole = sums.decompose()
    return [
        whole.solve(recipe.strength)
        if recipe.kind == "ridge"
        else _fit_softmax(recipe.strength / (dimensions or features.shape[1]), whole, features, labels, weights)
        for recipe in recipes
    ]


def fit_divisor(scores: Floats, labels: Labels, bias: Floats | None = None) -> float:
    """Return the number by which scores must be divided to be logits, under which the labels are most likely.

    Args:
        scores: (N, classes) scores of images, each by a head that was fitted without it.
        labels: (N,) index of each image's class.
        bias: (classes,) what must be added to the logits, because the heads were fitted with weights by which the
            classes have other shares than among these images; None for nothing.
    """
    ordered = np.sort(scores, axis=1)
    middle = np.argsort(ordered[:, -1] - ordered[:, -2])[len(scores) // 2]
    # One more image counts, an average one with a wrong answer: without a mistake no divisor would be the best one.
    wrong = np.argsort(scores[middle])[-2]
    return fit_temperature(np.vstack([scores, scores[middle]]), np.append(labels, wrong), bias)


def _fit_softmax(
    strength: float, whole: DecomposedSums, features: Features, labels: Labels, weights: Floats
) -> LinearHead:
    """Fit a softmax regression by accelerated steps, each of which solves a quadratic bound of the loss exactly.

    The second derivative of the loss is at most half that of least squares, so the bound's solution is a ridge's, and
    the principal axes of the features serve for all steps.

    Source: Böhning 1992, Multinomial logistic regression algorithm (the bound); O'Donoghue and Candès 2015, Adaptive
    restart for accelerated gradient schemes, section 3.2.
    """
    centred = (features - whole.mean).astype(features.dtype)
    shares = (weights / whole.weight)[:, np.newaxis]
    wanted = np.eye(len(whole.base))[labels]
    penalty = strength * whole.spread / whole.weight
    curvature = (whole.values / whole.weight / 2 + penalty)[:, np.newaxis]
    # Row 0 is the bias, the others the kernel along the axes.
    head = np.zeros((1 + len(whole.mean), len(whole.base)))
    ahead, momentum = head, 1.0
    for _ in range(MAX_STEPS):
        logits = centred @ (whole.axes @ ahead[1:]).astype(features.dtype) + ahead[0]
        error = shares * (softmax(logits) - wanted)
        slope = whole.axes.T @ (centred.T @ error.astype(features.dtype)) + penalty * ahead[1:]
        change = np.concatenate([2 * error.sum(axis=0, keepdims=True), slope / curvature])
        following = ahead - change
        if float(np.sum(slope * change[1:]) + np.sum(change[0] ** 2) / 2) / 2 < ENOUGH_NATS:
            head = following
            break
        if np.sum(slope * (following - head)[1:]) > 0:  # the momentum leads uphill
            momentum = 1.0
        later = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead, head, momentum = following + (momentum - 1) / later * (following - head), following, later
    kernel = whole.axes @ head[1:]
    return LinearHead(kernel=kernel, bias=head[0] - whole.mean @ kernel)
