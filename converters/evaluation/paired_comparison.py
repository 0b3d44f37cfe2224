"""Compares two models' answers to the same images.

Only the images that exactly one of the two models classifies correctly count; the other images show nothing about the
difference. Their groups are the unit, and each class counts alike where the models are judged by their mean recall.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from converters.evaluation.labelled_images import LabelledImage
from converters.evaluation.metrics import Evaluation
from converters.evaluation.model import ImagePrediction
from eaves.errors import DatasetError
from trainer.evaluation import ACCURACY, MEAN_RECALL
from trainer.evaluation.grouped_statistics import CONFIDENCE, JudgedImages

TWO_SIDED = 0.975
"""Confidence of each one-sided bound of a two-sided 95 % interval."""

Right = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """An image that the two models answer differently."""

    image: LabelledImage
    first: ImagePrediction
    second: ImagePrediction


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """Difference of the second model from the first, on the images that both answered.

    Attributes:
        judged: The images: their groups, and their classes if the models are judged by the mean recall.
        first: (N,) bool, whether the first model answers each image correctly.
        second: (N,) bool, whether the second model does.
        differing: Images that got two different labels.
        figure: Name of the figure that is compared: `accuracy` or `mean recall`.
    """

    judged: JudgedImages
    first: Right
    second: Right
    differing: tuple[Difference, ...] = ()
    figure: str = ACCURACY

    @property
    def images(self) -> int:
        """Number of images that both answered."""
        return len(self.first)

    @property
    def lost(self) -> int:
        """Number of images that only the first model answers correctly."""
        return int((self.first & ~self.second).sum())

    @property
    def gained(self) -> int:
        """Number of images that only the second model answers correctly."""
        return int((self.second & ~self.first).sum())

    @property
    def both_right(self) -> int:
        """Number of images that both answer correctly."""
        return int((self.first & self.second).sum())

    @property
    def both_wrong(self) -> int:
        """Number of images that neither answers correctly."""
        return int((~self.first & ~self.second).sum())

    @property
    def difference(self) -> float:
        """Figure of the second model less that of the first."""
        return self.judged.average(self.second.astype(np.float64) - self.first)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the difference."""
        return -self.bound_drop(TWO_SIDED), self.judged.bound_drop(self.second, self.first, TWO_SIDED)

    @property
    def p_value(self) -> float:
        """McNemar's exact p-value: the probability of so large a difference if both models are equally good.

        Each group counts once, for the model that is right on more of its images.
        """
        net = np.bincount(self.judged.groups, self.second.astype(np.float64) - self.first)
        return mcnemar_p_value(int((net < 0).sum()), int((net > 0).sum()))

    def bound_drop(self, confidence: float = CONFIDENCE) -> float:
        """Return the one-sided upper bound of the figure that the second model loses, a fraction of 1."""
        return self.judged.bound_drop(self.first, self.second, confidence)

    def to_dict(self) -> dict[str, Any]:
        """Return the difference as plain data for JSON."""
        return {
            "images": self.images,
            "groups": len(np.unique(self.judged.groups)),
            "figure": self.figure,
            "both_right": self.both_right,
            "only_first_right": self.lost,
            "only_second_right": self.gained,
            "both_wrong": self.both_wrong,
            "difference": self.difference,
            "difference_interval_95": list(self.interval),
            "mcnemar_p": self.p_value,
            "differing": [
                {"file": item.image.name, "label": item.image.label, "first": item.first.label}
                | {"second": item.second.label}
                for item in self.differing
            ],
        }


def pair(first: Evaluation, second: Evaluation) -> Pairing:
    """Compare two evaluations on the images that both answered, by the figure of the second.

    Raises:
        DatasetError: No image was answered by both models.
    """
    others = dict(zip(second.images, second.answers, strict=True))
    both = [
        Difference(image=image, first=answer, second=others[image])
        for image, answer in zip(first.images, first.answers, strict=True)
        if image in others
    ]
    if not both:
        raise DatasetError("the models can't be compared: no image can be read by both")
    labels = sorted({item.image.label for item in both})
    strata = np.array([labels.index(item.image.label) if second.is_balanced else 0 for item in both], np.int64)
    return Pairing(
        judged=JudgedImages.of_names([item.image.group for item in both], strata),
        first=np.array([item.first.label == item.image.label for item in both]),
        second=np.array([item.second.label == item.image.label for item in both]),
        differing=tuple(item for item in both if item.first.label != item.second.label),
        figure=MEAN_RECALL if second.is_balanced else ACCURACY,
    )


def mcnemar_p_value(lost: int, gained: int) -> float:
    """Return the two-sided p-value of McNemar's exact test.

    The test counts images on which exactly one model is right; if the models are equally good, each of the two is the
    right one with probability 1/2.

    Source: McNemar 1947, Note on the Sampling Error of the Difference between Correlated Proportions; the exact form is
        the binomial sign test.
    """
    discordant = lost + gained
    combinations = tail = 1
    for count in range(1, min(lost, gained) + 1):
        combinations = combinations * (discordant - count + 1) // count
        tail += combinations
    return min(1.0, float(2 * tail / 2**discordant))
