"""Finds images that look like another class than the one they are labelled with.

Source: Northcutt et al. 2021, Confident Learning (labels are doubted by predictions that have not seen them).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.selection.cross_validation import RECIPES, LabelledRows, score_folds

LEAST_MARGIN = 0.3
"""Minimum margin by which the score of another class must exceed that of an image's own class for the label to be
doubted; 1 is the distance between the scores of an image of a class and of one outside it. Measured on 500 photos of 5
flowers, 25 of them given a wrong label, mean of 4 draws: at 0.3, features of Inception V3 make 54 labels doubted, among
them 71 % of the wrong ones, and the descriptor 44, with 53 % of the wrong ones. At 0.5, features make 22 doubted (50 %
of the wrong ones) and the descriptor 8 (16 %)."""
LEAST_GAIN = 0.15
"""Minimum difference between the share of labels that are predicted correctly and the share of the largest class. With
a smaller difference, no label is doubted, because the vectors don't tell the classes apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """An image whose label is doubted.

    Attributes:
        row: Position of the image among the vectors.
        looks_like: Index of the class that it looks like.
        margin: Score of the class that the image looks like, minus the score of its labelled class.
    """

    row: int
    looks_like: int
    margin: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubts:
    """Result of comparing each image's label with the prediction of a classifier fitted to all other images.

    Attributes:
        agreement: Share of the images whose label equals the prediction.
        baseline: Share of the images that are of the largest class.
        images: The images whose label is doubted, the largest margin first; empty when `judged` is False.
    """

    agreement: float
    baseline: float
    images: tuple[Doubt, ...]

    @property
    def judged(self) -> bool:
        """Whether the vectors tell the classes apart well enough to doubt a label."""
        return self.agreement >= self.baseline + LEAST_GAIN


def find_doubts(vectors: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> Doubts:
    """Find the images that look like another class than the one they are labelled with.

    Args:
        vectors: (N, D) float32, N at least 3.
        labels: (N,) int64, index of each image's class.
    """
    rows, scores = np.arange(len(labels)), _score(vectors, labels)
    agreement = float(np.mean(scores.argmax(axis=1) == labels))
    baseline = float(np.bincount(labels).max() / len(labels))
    own = scores[rows, labels]
    scores[rows, labels] = -np.inf
    other = scores.argmax(axis=1)
    margins = scores[rows, other] - own
    found = Doubts(agreement=agreement, baseline=baseline, images=())
    if not found.judged:
        return found
    doubted = [
        Doubt(row=int(row), looks_like=int(other[row]), margin=float(margins[row]))
        for row in np.argsort(-margins, kind="stable")
        if margins[row] >= LEAST_MARGIN
    ]
    return Doubts(agreement=agreement, baseline=baseline, images=tuple(doubted))


def _score(vectors: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the scores, (N, classes), of each image by the ridge of which most labels are predicted."""
    rows = LabelledRows(
        labels=labels,
        groups=tuple(map(str, range(len(labels)))),
        weights=np.ones(len(labels)),
        classes=int(labels.max()) + 1,
    )
    evened = np.sign(vectors) * np.sqrt(np.abs(vectors))  # counts and activations have a few very large values
    scores = score_folds(evened, rows, tuple(recipe for recipe in RECIPES if recipe.kind == "ridge"))
    return np.asarray(scores[int(np.argmax((scores.argmax(axis=2) == labels).sum(axis=1)))])
