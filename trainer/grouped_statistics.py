"""Figures of a model on images of which some belong together, such as shots of one part: their groups are the unit.

The images of a group succeed or fail together, so 200 shots of 10 parts show less than 200 shots of 200 parts. The
images are counted as the number of independent images that they are worth: divided by the design effect, which follows
from their correlation within groups, and corrected for the few groups that the correlation is estimated from. Where
every image is a group, the intervals and bounds are those of `eaves.base.statistics`.

Source: Kish 1965, Survey Sampling, section 5.4 (design effect); Korn and Graubard 1998, Confidence Intervals for
Proportions with Small Expected Number of Positive Counts Estimated from Survey Data (effective size, Student's t).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from eaves.base.statistics import paired_drop_bound, wilson

PRIOR_GROUPS = 4.0
"""Number of further groups, whose images all succeed or fail together, that the correlation is estimated with. In
simulations of 4 to 100 groups with a correlation of 0, 0.3 and 0.6, the 95 % interval then held a true share of 0.7 in
at least 95 % of the cases, and one of 0.95 in at least 92 % (90 % for the mean of two strata); without them, in 93 and
87 %. The 95 % bound of a loss was exceeded in at most 10 %, where a loss is rare and strikes whole groups."""
CONFIDENCE = 0.95

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareEstimate:
    """A share of right answers with its two-sided 95 % interval.

    Attributes:
        value: The share: of all images, or the mean of the shares of the strata.
        low: Lower end of the interval.
        high: Upper end of the interval.
        images: Number of images.
        groups: Number of groups.
        effective: Number of independent images that the images are worth.
    """

    value: float
    low: float
    high: float
    images: int
    groups: int
    effective: float

    @property
    def right(self) -> int:
        """Number of images that were answered correctly, if the share is that of all images."""
        return round(self.value * self.images)


NOTHING = ShareEstimate(value=0.0, low=0.0, high=1.0, images=0, groups=0, effective=0.0)
"""The estimate from no images."""


class JudgedImages:
    """Images that models are judged on.

    Args:
        groups: (N,) name or number of each image's group.
        strata: (N,) stratum of each image, from 0; None if all images are one stratum. The figure is the mean of the
            strata's shares: with one stratum the accuracy, with the classes as strata the mean recall. Images of one
            group in two strata count as two groups.

    Attributes:
        groups: (N,) number of each image's group, from 0.
    """

    def __init__(self, groups: Sequence[Any] | Labels, strata: Labels | None = None) -> None:
        self.groups: Labels = np.unique(np.asarray(groups), return_inverse=True)[1].astype(np.int64)
        strata = np.zeros(len(self.groups), np.int64) if strata is None else strata
        self._names, self._strata = np.unique(strata, return_inverse=True)
        self._sizes = np.bincount(self._strata).astype(np.float64)
        self._count = int(self.groups.max(initial=-1)) + 1
        self._cells = np.unique(self._strata * self._count + self.groups, return_inverse=True)[1]

    def estimate(self, right: npt.NDArray[np.bool_], *, inflation: float = 1.0) -> ShareEstimate:
        """Estimate the figure from right answers.

        Args:
            right: (N,) whether each image was answered correctly.
            inflation: Further number that the effective number of images is divided by.
        """
        parts = list(self.estimate_strata(right, inflation=inflation).values())
        if not parts:
            return NOTHING
        value = sum(part.value for part in parts) / len(parts)
        scale = math.sqrt(self._count_across(right)) / len(parts)
        return ShareEstimate(
            value=value,
            low=max(0.0, value - scale * math.hypot(*(part.value - part.low for part in parts))),
            high=min(1.0, value + scale * math.hypot(*(part.high - part.value for part in parts))),
            images=len(self.groups),
            groups=self._count,
            effective=self.count_worth(right) / inflation,
        )

    def estimate_strata(self, right: npt.NDArray[np.bool_], *, inflation: float = 1.0) -> dict[int, ShareEstimate]:
        """Estimate the share of right answers of each stratum that has images, in their order."""
        found = {}
        for number, worth in enumerate(self._count_effective(right) / inflation):
            inside = self._strata == number
            share = float(right[inside].mean())
            low, high = wilson(share * worth, worth)
            found[int(self._names[number])] = ShareEstimate(
                value=share,
                low=low,
                high=high,
                images=int(inside.sum()),
                groups=len(np.unique(self.groups[inside])),
                effective=float(worth),
            )
        return found

    def bound_drop(
        self,
        first: npt.NDArray[np.bool_],
        second: npt.NDArray[np.bool_],
        confidence: float = CONFIDENCE,
    ) -> float:
        """Return the one-sided upper bound of the figure that a second model loses against a first one.

        Args:
            first: (N,) whether the first model answers each image correctly.
            second: (N,) whether the second model does.
            confidence: Probability that the true loss is at most the bound.

        Returns:
            The bound, a fraction of 1; 1 for no images. With several strata it is the smaller of two: of their bounds
            together, which is too large where few images differ, and of as many images as if all strata were as small
            as the smallest, which is too large where one is small.
        """
        if not len(first):
            return 1.0
        change = first.astype(np.float64) - second
        worth, across = self._count_effective(change, 2 * confidence - 1), self._count_across(change)
        lost, gained = (self._average_strata(each) for each in (first & ~second, second & ~first))
        bounds = [_bound_drop(*each, confidence) for each in zip(lost, gained, worth, strict=True)]
        losses, gains = float(lost.mean()), float(gained.mean())
        reach = float(np.linalg.norm(bounds - (lost - gained))) / len(bounds) * math.sqrt(across)
        together = _bound_drop(losses, gains, len(bounds) * float(worth.min()) / across, confidence)
        return min(1.0, losses - gains + reach, together)

    def average(self, values: Floats) -> float:
        """Return the mean over the strata of the mean value of their images; 0 without images."""
        return float(self._average_strata(values).mean()) if len(values) else 0.0

    def count_strata(self, values: Floats, strata: int) -> tuple[Floats, Floats]:
        """Return the sum of the values and the number of images of each stratum, as independent images, rounded down.

        Args:
            values: (N,) value of each image, a whole number.
            strata: Number of strata, of which some may have no images.
        """
        sums, worth = np.zeros((2, strata))
        worth[self._names] = self._count_effective(values)
        sums[self._names] = self._average_strata(values) * worth[self._names]
        return np.floor(sums + 1e-9), np.floor(worth + 1e-9)

    def count_worth(self, values: Floats | npt.NDArray[np.bool_]) -> float:
        """Return the number of independent images that the images are worth, by one value of each, (N,)."""
        worth = self._count_effective(values)
        if not len(worth):
            return 0.0
        return len(worth) ** 2 / float(np.sum(1 / np.maximum(worth, 1e-9))) / self._count_across(values)

    def _average_strata(self, values: npt.NDArray[Any]) -> Floats:
        return np.asarray(np.bincount(self._strata, values) / self._sizes)

    def _subtract_mean(self, values: npt.NDArray[Any]) -> Floats:
        """Return each image's value less the mean of its stratum, (N,)."""
        return np.asarray(values - self._average_strata(values)[self._strata])

    def _count_across(self, values: npt.NDArray[Any]) -> float:
        """Return the factor by which the variance of the figure is larger because groups are in several strata.

        Args:
            values: (N,) value of each image, whose mean in each stratum is estimated.
        """
        cells = int(self._cells.max(initial=-1)) + 1
        if cells == self._count:  # every group is in one stratum
            return 1.0
        rest = self._subtract_mean(values) / self._sizes[self._strata]
        together, apart = (float(np.sum(np.bincount(of, rest) ** 2)) for of in (self.groups, self._cells))
        most = cells / self._count  # the factor if the images of a group always succeed or fail together
        found = min(most, max(1.0, together / apart)) if apart > 0 else most
        return float((found * self._count + PRIOR_GROUPS * most) / (self._count + PRIOR_GROUPS))

    def _count_effective(self, values: npt.NDArray[Any], confidence: float = CONFIDENCE) -> Floats:
        """Return the number of independent images that the images of each stratum are worth.

        Args:
            values: (N,) value of each image, whose mean in each stratum is estimated.
            confidence: Confidence of the two-sided interval that the numbers are used for.
        """
        shots = np.bincount(self._cells).astype(np.float64)
        if len(shots) == len(values):  # every image is a group
            return self._sizes
        rest = self._subtract_mean(values)
        together, apart = float(np.sum(np.bincount(self._cells, rest) ** 2)), float(np.sum(rest**2))
        mates = self._average_strata(shots[self._cells])  # images in the group of an image, itself included
        return _count_effective(self._sizes, mates, len(shots), together, apart, confidence)


def _count_effective(
    sizes: Floats, mates: Floats, groups: int, together: float, apart: float, confidence: float
) -> Floats:
    """Return the number of independent images that the images of each stratum are worth.

    Args:
        sizes: (strata,) number of images.
        mates: (strata,) mean number of images in the group of an image, itself included.
        groups: Number of groups, those of each stratum counted apart.
        together: Sum over the groups of the squared sums of the images' deviations from the mean of their stratum.
        apart: Sum of the squared deviations.
        confidence: Confidence of the two-sided interval that the numbers are used for.
    """
    free = groups - len(sizes)
    correlation = 1.0
    if apart > 0 and free > 0:
        found = (together * groups / free / apart - 1) / (float(np.average(mates, weights=sizes)) - 1)
        correlation = (min(1.0, max(0.0, found)) * free + PRIOR_GROUPS) / (free + PRIOR_GROUPS)
    normal = NormalDist().inv_cdf((1 + confidence) / 2)
    few = (normal / student_t_quantile((1 + confidence) / 2, free)) ** 2 if free > 0 else 0.0
    return np.asarray(sizes / (1 + (mates - 1) * correlation) * few)


def mean_interval(
    values: Floats, groups: Sequence[Any] | Labels, weights: Floats | None = None, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Return the two-sided interval of the weighted mean of values, (N,); the groups are the unit.

    Source: Cochran 1977, Sampling Techniques, section 6.3 (ratio estimator).
    """
    group = np.unique(np.asarray(groups), return_inverse=True)[1]
    weights = np.ones(len(values)) if weights is None else weights
    sums, sizes = np.bincount(group, weights * values), np.bincount(group, weights)
    mean, count = float(sums.sum() / sizes.sum()), len(sizes)
    if count < 2:
        return -math.inf, math.inf
    error = math.sqrt(float(np.sum((sums - mean * sizes) ** 2)) * count / (count - 1)) / float(sizes.sum())
    reach = student_t_quantile((1 + confidence) / 2, count - 1) * error
    return mean - reach, mean + reach


def _bound_drop(lost: float, gained: float, worth: float, confidence: float) -> float:
    """Return the upper bound of a loss by the shares of lost and gained images and the number of independent ones."""
    images = max(1, math.floor(worth + 1e-9))
    return paired_drop_bound(round(lost * images, 9), round(gained * images, 9), images, confidence)


def student_t_quantile(probability: float, freedom: float) -> float:
    """Return a quantile of Student's t distribution.

    Args:
        probability: Probability of a smaller value, above 0.5.
        freedom: Degrees of freedom, at least 1. The error is below 2 % with 3 or more; 1 and 2 are exact.

    Source: Abramowitz and Stegun 1964, Handbook of Mathematical Functions, 26.7.5.
    """
    if freedom == 1:
        return math.tan(math.pi * (probability - 0.5))
    if freedom == 2:
        both = 2 * probability - 1
        return both * math.sqrt(2 / (1 - both * both))
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, start=1))
