"""Compares two models' answers to the same images.

Only the images that exactly one of the two models classifies correctly count; the other images show nothing about the
difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from converters.evaluation.labelled_images import LabelledImage
from converters.evaluation.metrics import Evaluation
from converters.evaluation.model import ImagePrediction
from eaves.base.statistics import paired_drop_bound, paired_drop_lower_bound
from eaves.errors import DatasetError

TWO_SIDED = 0.975
"""Confidence of each one-sided bound of a two-sided 95 % interval."""


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
        both_right: Number of images that both answer correctly.
        lost: Number of images that only the first answers correctly.
        gained: Number of images that only the second answers correctly.
        both_wrong: Number of images that neither answers correctly.
        differing: Images that got two different labels.
    """

    both_right: int
    lost: int
    gained: int
    both_wrong: int
    differing: tuple[Difference, ...]

    @property
    def images(self) -> int:
        """Number of images that both answered."""
        return self.both_right + self.lost + self.gained + self.both_wrong

    @property
    def difference(self) -> float:
        """Accuracy of the second model less that of the first."""
        return (self.gained - self.lost) / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the difference."""
        counts = self.lost, self.gained, self.images
        return -paired_drop_bound(*counts, TWO_SIDED), -paired_drop_lower_bound(*counts, TWO_SIDED)

    @property
    def p_value(self) -> float:
        """McNemar's exact p-value: the probability of so large a difference if both models are equally good."""
        return mcnemar_p_value(self.lost, self.gained)

    def to_dict(self) -> dict[str, Any]:
        """Return the difference as plain data for JSON."""
        return {
            "images": self.images,
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
    """Compare two evaluations on the images that both answered.

    Raises:
        DatasetError: No image was answered by both models.
    """
    others = dict(zip(second.images, second.answers, strict=True))
    counts = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
    differing: list[Difference] = []
    for image, answer in zip(first.images, first.answers, strict=True):
        other = others.get(image)
        if other is None:
            continue
        counts[answer.label == image.label, other.label == image.label] += 1
        if answer.label != other.label:
            differing.append(Difference(image=image, first=answer, second=other))
    if not sum(counts.values()):
        raise DatasetError("the models can't be compared: no image can be read by both")
    return Pairing(
        both_right=counts[True, True],
        lost=counts[True, False],
        gained=counts[False, True],
        both_wrong=counts[False, False],
        differing=tuple(differing),
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
