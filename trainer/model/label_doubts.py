"""Judges labels by predictions that have not seen them, and finds labels without which the others are predicted better.

Source: Northcutt et al. 2021, Confident Learning (labels are doubted by predictions that have not seen them).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.data.listing import LabelledImage
from trainer.model.candidates import RECIPES, Right, compute_features, estimate_interval, score_folds
from trainer.model.feature_sums import Features, Floats, Labels
from trainer.model.linear_head import HeadRecipe, LabelledRows, find_axes, shorten
from trainer.progress import TrainingProgress
from trainer.settings import TrainSettings
from trainer.storage import FileStore
from trainer.tensorflow_notices import import_tensorflow, native_stderr

MIN_MARGIN = 0.3
"""Minimum margin by which the score of another class must exceed that of an image's own class for the label to be
doubted; 1 is the distance between the scores of an image of a class and of one outside it. Measured on 500 photos of 5
flowers, 25 of them given a wrong label, mean of 4 draws: at 0.3, 34 labels are doubted, among them 84 % of the wrong
ones; at 0.5, 18, among them 57 %."""
MIN_GAIN = 0.15
"""Minimum difference between the lower end of the interval of the share of labels that are predicted and the share of
the largest class. With a smaller one, no label is doubted, because the features may not tell the classes apart."""
RIDGES = tuple(recipe for recipe in RECIPES if recipe.kind == "ridge")


def compute_evened(
    images: Sequence[LabelledImage], store: FileStore, progress: TrainingProgress, *, side: int = 0
) -> npt.NDArray[np.float32]:
    """Return features of images by the default network, (N, D), with a sign and the root of each size.

    Activations have a few very large values, which the roots even out. What is small in an image may only be seen by
    a network with a large input: `side`, pixels; 0 is the network's default.

    Raises:
        ConfigError: The network's weights aren't installed.
        DatasetError: An image can't be read.
    """
    settings = TrainSettings(image_size=side)
    with progress.phase("Loading TensorFlow", 1) as step:
        with native_stderr():
            import_tensorflow()
            from trainer.model.keras_model import build_backbone  # takes seconds, of which the phase tells

            backbone = build_backbone(settings)
        step()
    distinct = {image.digest: image for image in images}
    row_of = {digest: row for row, digest in enumerate(distinct)}
    values = compute_features(settings, list(distinct.values()), store, progress, backbone=backbone).values
    evened = np.sign(values) * np.sqrt(np.abs(values))
    return np.asarray(evened[[row_of[image.digest] for image in images]])


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedLabels:
    """Labels, and scores of their images by heads that have not seen the fold of the image.

    Attributes:
        rows: The labels.
        recipe: How the heads were fitted.
        scores: (N, classes).
    """

    rows: LabelledRows
    recipe: HeadRecipe
    scores: Floats

    @property
    def predicted(self) -> Labels:
        """Index of the class with the best score, (N,)."""
        return np.asarray(self.scores.argmax(axis=1))

    @property
    def right(self) -> Right:
        """Whether each label is predicted, (N,)."""
        return np.asarray(self.predicted == self.rows.labels)

    @property
    def margins(self) -> Floats:
        """Difference of the best score and that of the label, (N,)."""
        return np.asarray(self.scores.max(axis=1) - self.scores[np.arange(len(self.scores)), self.rows.labels])

    def find_doubtful(self) -> Labels:
        """Return the rows whose labels are doubtful, the most doubtful first."""
        order = np.argsort(-self.margins, kind="stable")
        return order[self.margins[order] >= MIN_MARGIN]

    def describe(self, names: Sequence[str]) -> tuple[bool, str]:
        """Return whether the labels can be doubted, and a sentence with the share of them that is predicted.

        Args:
            names: Names of the classes.
        """
        share = f"{self.rows.share(self.right):.0%} of the labels are predicted from the other images"
        largest = int(np.bincount(self.rows.labels).argmax())
        baseline, low = float(np.mean(self.rows.labels == largest)), estimate_interval(self.right, self.rows)[0]
        if low >= baseline + MIN_GAIN:
            return True, share
        why = f"{share} (with 95 % confidence {math.floor(100 * low)}% or more)"
        surer = f"too close to what always naming {names[largest]} gives, {baseline:.0%}"
        return False, f"labels are not judged: {why}, {surer}; more photos help"


def judge_labels(features: Features, rows: LabelledRows, fitted: Right | None = None) -> JudgedLabels:
    """Predict labels by the ridge that predicts most of them, fitted without each image's fold.

    Args:
        features: (N, D) of `compute_evened`.
        rows: The labels; images of a group are in one fold.
        fitted: (N,) whether ridges are fitted to the image; None for all.
    """
    scored = score_folds(features, rows, RIDGES, fitted)
    best = max(range(len(RIDGES)), key=lambda number: float(np.mean(scored[number].argmax(axis=1) == rows.labels)))
    return JudgedLabels(rows=rows, recipe=RIDGES[best], scores=scored[best])


def measure_harm(features: Features, judged: JudgedLabels, asked: Labels) -> Floats:
    """Return how much the squared error of held-out images falls when a ridge is fitted without an image.

    No ridge is fitted again: without image i, whose influence on its own score is h, the score of a held-out image x
    changes by the influence of i on x times the error of i, divided by 1 - h.

    Measured on 500 photos of 5 flowers, 25 of them given a wrong label, mean of 20 draws: 33 labels are doubtful, and
    29 of them harm; among the first 30 of these are 18 of the wrong ones, among 30 photos drawn at random 1.5. Without
    the 29, 0.3 points more of 150 other photos are predicted; without as many drawn at random, 0.1 points fewer. With
    no wrong label, 12 harm, and leaving them out costs 0.7 points: such a photo is to be looked at, not removed.

    Source: Cook 1977, Detection of Influential Observation in Linear Regression.

    Args:
        features: (N, D) of `compute_evened`.
        judged: The labels.
        asked: (M,) rows that are left out, one at a time.

    Returns:
        Mean over the held-out images of the folds without the image, as (M,); below 0 when the image helps.
    """
    rows, strength = judged.rows, judged.recipe.strength
    folds, values = rows.folds(), shorten(features.astype(np.float64))[0]
    change, held = np.zeros((2, len(asked)))
    for fold in np.unique(folds):
        trained = folds != fold
        axes = find_axes(values[trained], rows.only(trained))
        errors = np.eye(rows.classes)[rows.labels] - axes.solve(strength)(values)
        along = (values - axes.mean) @ axes.axes / np.sqrt(axes.values + strength * axes.spread)
        inside = trained[asked]
        mine, own = along[asked[inside]], errors[asked[inside]]
        share = 1 / axes.weight
        influence = (along[~trained] @ mine.T + share) / (1 - share - np.sum(mine**2, axis=1))
        moved = 2 * influence * (errors[~trained] @ own.T) + influence**2 * np.sum(own**2, axis=1)
        change[inside] += moved.sum(axis=0)
        held[inside] += np.count_nonzero(~trained)
    return np.asarray(-change / np.maximum(held, 1))
