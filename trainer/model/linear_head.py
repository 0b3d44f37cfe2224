"""Linear heads on fixed features: the closed form of ridge regression, and softmax regression.

Both are solved in the principal axes of the images' features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from trainer.calibration import fit_temperature, softmax
from trainer.model.feature_sums import Features, FeatureSums, Floats, Labels, LinearHead, PrincipalAxes

NEGLIGIBLE = 1e-12
"""Share of the largest squared length below which a direction of the features is rounding error."""
MAX_STEPS = 100
"""Maximum number of steps of a softmax fit. On features of 500 photos of flowers and 240 of parts, the accuracy on
other photos was the same from 50 steps on."""
FEW_IMAGES, MANY_FOLDS, FOLDS = 100, 10, 5
"""Up to `FEW_IMAGES` images are divided into `MANY_FOLDS` folds, because each image that a fit lacks counts; more are
divided into `FOLDS`."""
ENOUGH_NATS = 1e-6
"""Decrease of the loss, nats, that a step must promise; the fit ends when it promises less."""

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
class LabelledRows:
    """Labels of some images, in the order of the rows of their features.

    Attributes:
        labels: (N,) index of each image's class.
        groups: Name of each image's group; images of one group are in one fold. An image without a group has a name of
            its own.
        weights: (N,) weight of each image in fits and in accuracies.
        classes: Number of classes.
    """

    labels: Labels
    groups: tuple[str, ...]
    weights: Floats
    classes: int

    @classmethod
    def of(cls, labels: Sequence[int], groups: Sequence[str] = ()) -> LabelledRows:
        """Return rows of weight 1; without `groups`, each image is a group of its own."""
        return cls(
            labels=np.array(labels, np.int64),
            groups=tuple(groups or map(str, range(len(labels)))),
            weights=np.ones(len(labels)),
            classes=max(labels) + 1,
        )

    def only(self, kept: npt.NDArray[np.bool_]) -> LabelledRows:
        """Return the rows of some of the images, (N,)."""
        groups = tuple(name for name, keep in zip(self.groups, kept, strict=True) if keep)
        return replace(self, labels=self.labels[kept], groups=groups, weights=self.weights[kept])

    def folds(self) -> Labels:
        """Return the fold of each image, (N,).

        Large groups are placed first, each into the fold with the fewest images of its classes.
        """
        count = MANY_FOLDS if len(self.labels) <= FEW_IMAGES else FOLDS
        members: dict[str, list[int]] = {}
        for row, name in enumerate(self.groups):
            members.setdefault(name, []).append(row)
        filled, fold = np.zeros((count, self.classes)), np.zeros(len(self.labels), np.int64)
        for name in sorted(members, key=lambda name: (-len(members[name]), _hash(name))):
            rows = members[name]
            held = filled[:, np.unique(self.labels[rows])].sum(axis=1)
            chosen = int(np.lexsort((filled.sum(axis=1), held))[0])
            fold[rows] = chosen
            filled[chosen] += np.bincount(self.labels[rows], minlength=self.classes)
        return fold

    def share(self, right: npt.NDArray[np.bool_]) -> float:
        """Return the weighted share of right answers, (N,)."""
        return float(np.average(right, weights=self.weights))


def find_axes(features: Features, rows: LabelledRows) -> PrincipalAxes:
    """Return the principal axes of the features of labelled images, (N, D) finite floats."""
    names = [str(number) for number in range(rows.classes)]
    return FeatureSums.of(features, rows.labels, names, weights=rows.weights).axes()


def shorten(features: Features) -> tuple[Features, Floats, Floats | None]:
    """Turn features, (N, D), into as many dimensions as there are images, if that is fewer; their products stay.

    Returns:
        shortened: (N, R) features in the new dimensions.
        mean: (D,) mean of the features.
        basis: (D, R) directions of the new dimensions; None if the features stay as they are.
    """
    mean = features.mean(axis=0, dtype=np.float64)
    if len(features) >= features.shape[1]:
        return features, mean, None
    centred = features - mean
    squares, axes = np.linalg.eigh(centred @ centred.T)
    kept = squares >= squares[-1] * NEGLIGIBLE  # all of them, if the features are alike
    basis = centred.T @ (axes[:, kept] / np.sqrt(np.maximum(squares[kept], np.finfo(np.float64).tiny)))
    return centred @ basis, mean, basis


def fit_linear(recipe: HeadRecipe, features: Features, rows: LabelledRows) -> LinearHead:
    """Fit one head to the features of all given images, (N, D)."""
    shortened, mean, basis = shorten(features)
    (head,) = fit_heads((recipe,), shortened, rows, dimensions=features.shape[1])
    if basis is None:
        return head
    kernel = basis @ head.kernel
    return LinearHead(kernel=kernel, bias=head.bias - mean @ kernel)


def fit_heads(
    recipes: Sequence[HeadRecipe], features: Features, rows: LabelledRows, *, dimensions: int = 0
) -> list[LinearHead]:
    """Fit a head by each recipe.

    Args:
        recipes: How the heads are fitted.
        features: (N, D) finite floats.
        rows: The images.
        dimensions: Number of features before `shorten`, for the variance of one; 0 means D.
    """
    whole = find_axes(features, rows)
    return [
        whole.solve(recipe.strength)
        if recipe.kind == "ridge"
        else _fit_softmax(recipe.strength / (dimensions or features.shape[1]), whole, features, rows)
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


def _fit_softmax(strength: float, whole: PrincipalAxes, features: Features, rows: LabelledRows) -> LinearHead:
    """Fit a softmax regression by accelerated steps, each of which solves a quadratic bound of the loss exactly.

    The second derivative of the loss is at most half that of least squares, so the bound's solution is a ridge's, and
    the principal axes of the features serve for all steps.

    Source: Böhning 1992, Multinomial logistic regression algorithm (the bound); O'Donoghue and Candès 2015, Adaptive
    restart for accelerated gradient schemes, section 3.2.
    """
    centred = (features - whole.mean).astype(features.dtype)
    shares = (rows.weights / whole.weight)[:, np.newaxis]
    wanted = np.eye(rows.classes)[rows.labels]
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


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()
