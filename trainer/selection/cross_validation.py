"""Grouped cross-validation of linear heads, and nested cross-validation of everything that is chosen by it.

The images are divided into folds, each group as a whole. A head is judged on each fold after a fit to the others. What
is chosen by these answers looks better than it is; nested cross-validation repeats the choice for each fold with the
others alone, so its answers are those of a model that has never seen the image.

Source: Cawley and Talbot 2010, On Over-fitting in Model Selection, section 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from eaves.base.statistics import wilson
from trainer.evaluation.calibration import likelihoods
from trainer.evaluation.grouped_statistics import JudgedImages, mean_interval
from trainer.selection.linear_head import (
    Features,
    Floats,
    HeadRecipe,
    LabelledRows,
    Labels,
    fit_divisor,
    fit_heads,
    shorten,
)

RECIPES = (
    *(HeadRecipe(kind="softmax", strength=strength) for strength in (20.0, 2.0)),
    *(HeadRecipe(kind="ridge", strength=strength) for strength in (0.1, 0.3, 1.0, 3.0)),
)
"""Heads that are compared. On 500 photos of flowers both kinds were equally good; on 32 to 200 photos of drawn parts,
scratched or not, ridges were better. Softmax with an L2 of 0.2 or 200, and other ridges, were best on none."""
MAX_LOSS = 0.02
"""Largest loss of accuracy, as the upper end of its interval, for which a smaller candidate is taken."""
INFLATION = 2.0
"""Ratio of the variance of a cross-validated accuracy to that of independent answers. In simulations of two classes
with 40 to 200 images and a true accuracy of 0.5 to 0.94 it was 1.4 to 2.0. The interval of half as many images then
held the true accuracy in 96 to 97 % of the cases, that of all images in 83 to 94 %. Source: Nadeau and Bengio 2003,
Inference for the Generalization Error, section 3 (2.1 for ten folds)."""
CONFIDENCE = 0.95
"""Confidence of the one-sided bound of a loss."""

Right = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateAnswers:
    """Cross-validated answers of the best head on one candidate's features.

    Attributes:
        recipe: The head.
        divisor: Number that the head's scores are divided by to be logits.
        right: (N,) whether the best score is that of the image's class.
        accuracy: Weighted share of right answers.
    """

    recipe: HeadRecipe
    divisor: float
    right: Right
    accuracy: float


def cross_validate(features: Features, rows: LabelledRows) -> CandidateAnswers:
    """Cross-validate the heads of `RECIPES` on features, (N, D), and return the answers of the best one."""
    return _find_best(score_folds(features, rows, RECIPES), rows)


def score_folds(features: Features, rows: LabelledRows, recipes: tuple[HeadRecipe, ...]) -> Floats:
    """Return the scores, (recipes, N, classes), of each image by heads that are fitted without its fold."""
    scores = np.zeros((len(recipes), len(rows.labels), rows.classes))
    with threadpool_limits(1, user_api="blas"):  # the matrices are small
        fits = _FoldFits(features, rows, rows.folds(), recipes)
        for fold in np.unique(fits.folds):
            scores[:, fits.folds == fold] = fits.predict(fold)
    return scores


def choose_candidate(answers: Sequence[CandidateAnswers], rows: LabelledRows) -> int:
    """Return the position of the candidate to take; the candidates are in order of their cost.

    It is the first whose loss against the most accurate one is shown to be at most `MAX_LOSS`.
    """
    best = max(range(len(answers)), key=lambda number: answers[number].accuracy)
    return next(
        number
        for number in range(len(answers))
        if number == best or bound_mean(answers[best].right - answers[number].right.astype(float), rows) <= MAX_LOSS
    )


def bound_mean(values: Floats, rows: LabelledRows) -> float:
    """Return the upper end of the 95 % interval (one-sided) of the weighted mean of values, (N,)."""
    return mean_interval(values, rows.groups, rows.weights, 2 * CONFIDENCE - 1)[1]


def estimate_interval(right: Right, rows: LabelledRows) -> tuple[float, float]:
    """Return the two-sided 95 % interval of the weighted share of right answers, (N,), in cross-validation."""
    of_class = np.bincount(rows.labels, rows.weights, rows.classes)
    if np.allclose(of_class, of_class[0]) and not np.allclose(rows.weights, 1):  # a mean recall
        found = JudgedImages(rows.groups, rows.labels).estimate(right, inflation=INFLATION)
        return found.low, found.high
    worth = JudgedImages(rows.groups).estimate(right, inflation=INFLATION).effective
    return wilson(rows.share(right) * worth, worth)


def predict_nested(candidates: Sequence[Features], rows: LabelledRows) -> Labels:
    """Predict each image's class by the candidate and head that are chosen and fitted without its fold.

    Args:
        candidates: Features of the same N images for each candidate, each (N, any), in order of the candidates' cost.
        rows: The images.

    Returns:
        predicted: (N,) index of the predicted class.
    """
    folds = rows.folds()
    with threadpool_limits(1, user_api="blas"):  # the matrices are small
        fitted = [_FoldFits(features, rows, folds, RECIPES) for features in candidates]
        predicted = np.zeros(len(folds), np.int64)
        for outer in np.unique(folds):
            others = folds != outer
            left, answers = rows.only(others), []
            for fits in fitted:
                scores = np.zeros((len(RECIPES), len(folds), rows.classes))
                for inner in np.unique(folds[others]):
                    scores[:, folds == inner] = fits.predict(inner, without=outer)
                answers.append(_find_best(scores[:, others], left))
            chosen = choose_candidate(answers, left)
            number = RECIPES.index(answers[chosen].recipe)
            predicted[folds == outer] = fitted[chosen].predict(outer)[number].argmax(axis=1)
    return predicted


class _FoldFits:
    """Heads on one candidate's features that are fitted without one fold or two, and their scores of these folds."""

    def __init__(self, features: Features, rows: LabelledRows, folds: Labels, recipes: tuple[HeadRecipe, ...]) -> None:
        self.folds, self._rows, self._recipes = folds, rows, recipes
        # Pixels that are a hundred times too large may overflow a network.
        finite = np.nan_to_num(features.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        self._features, self._dimensions = shorten(finite)[0], features.shape[1]
        self._scores = cache(self._score)

    def predict(self, fold: int, *, without: int | None = None) -> Floats:
        """Return the scores, (recipes, images, classes), of a fold's images by heads fitted without it.

        Args:
            fold: The fold.
            without: Another fold that the heads are not fitted to either.
        """
        left_out = tuple(sorted({int(fold), int(fold if without is None else without)}))
        inside = np.isin(self.folds, left_out)
        return self._scores(left_out)[:, self.folds[inside] == fold]

    def _score(self, left_out: tuple[int, ...]) -> Floats:
        inside = np.isin(self.folds, left_out)
        kept = self._features[~inside], self._rows.only(~inside)
        heads = fit_heads(self._recipes, *kept, dimensions=self._dimensions)
        return np.stack([head(self._features[inside]) for head in heads])


def _find_best(scores: Floats, rows: LabelledRows) -> CandidateAnswers:
    """Return the answers of the head under which the labels are most likely; a ridge must be better beyond noise.

    Likelihoods are compared, of scores that are divided by what suits them best, because they tell more from few images
    than right answers do.
    """
    counts = np.bincount(rows.labels, minlength=rows.classes)
    weights = np.bincount(rows.labels, rows.weights, rows.classes) / np.maximum(counts, 1)
    bias = -np.log(np.where(counts > 0, weights, 1.0))
    divisors = [fit_divisor(of_recipe, rows.labels, bias) for of_recipe in scores]
    nats = np.stack([likelihoods(of, rows.labels, by) for of, by in zip(scores, divisors, strict=True)])
    order = np.argsort(np.average(nats, axis=1, weights=rows.weights), kind="stable")
    best = int(order[0])
    trained = next((int(number) for number in order if RECIPES[number].kind == "softmax"), best)
    if bound_mean(nats[best] - nats[trained], rows) >= 0:
        best = trained
    right = scores[best].argmax(axis=1) == rows.labels
    return CandidateAnswers(recipe=RECIPES[best], divisor=divisors[best], right=right, accuracy=rows.share(right))
