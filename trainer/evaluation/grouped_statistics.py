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


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedImages:
    """Images that models are judged on.

    Attributes:
        strata: (N,) stratum of each image, from 0. The figure is the mean of the strata's shares: with one stratum the
            accuracy, with the classes as strata the mean recall. Images of one group in two strata count as two groups.
        groups: (N,) number of each image's group.
    """

    strata: Labels
    groups: Labels

    @classmethod
    def of_names(cls, groups: Sequence[str] | Sequence[Any], strata: Labels | None = None) -> JudgedImages:
        """Return images with the given names of groups; without strata, all images are one stratum."""
        numbers = np.unique(np.asarray(groups), return_inverse=True)[1].astype(np.int64)
        return cls(strata=np.zeros(len(numbers), np.int64) if strata is None else strata, groups=numbers)

    def estimate(self, right: npt.NDArray[np.bool_], *, inflation: float = 1.0) -> ShareEstimate:
        """Estimate the figure from right answers.

        Args:
            right: (N,) whether each image was answered correctly.
            inflation: Further number that the effective number of images is divided by.
        """
        parts = self.estimate_strata(right, inflation=inflation)
        if not parts:
            return ShareEstimate(value=0.0, low=0.0, high=1.0, images=0, groups=0, effective=0.0)
        value = sum(part.value for part in parts) / len(parts)
        across = self._count_across(right.astype(np.float64))
        below = math.hypot(*(part.value - part.low for part in parts)) / len(parts) * math.sqrt(across)
        above = math.hypot(*(part.high - part.value for part in parts)) / len(parts) * math.sqrt(across)
        return ShareEstimate(
            value=value,
            low=max(0.0, value - below),
            high=min(1.0, value + above),
            images=len(self.groups),
            groups=len(np.unique(self.groups)),
            effective=len(parts) ** 2 / sum(1 / max(part.effective, 1e-9) for part in parts) / across,
        )

    def estimate_strata(self, right: npt.NDArray[np.bool_], *, inflation: float = 1.0) -> list[ShareEstimate]:
        """Estimate the share of right answers of each stratum that has images, in their order."""
        worth = self._count_effective(right.astype(np.float64)) / inflation
        found = []
        for number, stratum in enumerate(np.unique(self.strata)):
            inside = self.strata == stratum
            share, images = float(right[inside].mean()), int(inside.sum())
            low, high = wilson(share * worth[number], worth[number])
            groups = len(np.unique(self.groups[inside]))
            found.append(
                ShareEstimate(
                    value=share, low=low, high=high, images=images, groups=groups, effective=float(worth[number])
                )
            )
        return found

    def bound_drop(
        self, first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_], confidence: float = CONFIDENCE
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
        lost, gained = first & ~second, second & ~first
        change = lost.astype(np.float64) - gained
        worth, across = self._count_effective(change, 2 * confidence - 1), self._count_across(change)
        shares, bounds = [], []
        for number, stratum in enumerate(np.unique(self.strata)):
            inside = self.strata == stratum
            shares.append((float(lost[inside].mean()), float(gained[inside].mean())))
            bounds.append(_bound_drop(*shares[-1], worth[number], confidence))
        if not shares:
            return 1.0
        losses, gains = (float(share) for share in np.mean(shares, axis=0))
        reaches = (bound - (lose - gain) for bound, (lose, gain) in zip(bounds, shares, strict=True))
        apart = losses - gains + math.hypot(*reaches) / len(bounds) * math.sqrt(across)
        together = _bound_drop(losses, gains, len(bounds) * float(worth.min()) / across, confidence)
        return min(1.0, apart, together)

    def average(self, values: Floats) -> float:
        """Return the mean over the strata of the mean value of their images; 0 without images."""
        means = [values[self.strata == stratum].mean() for stratum in np.unique(self.strata)]
        return float(np.mean(means)) if means else 0.0

    def count_strata(self, values: Floats, strata: int) -> tuple[Floats, Floats]:
        """Return the sum of the values and the number of images of each stratum, as independent images, rounded down.

        Args:
            values: (N,) value of each image, a whole number.
            strata: Number of strata, of which some may have no images.
        """
        sizes = np.bincount(self.strata, minlength=strata).astype(np.float64)
        worth = np.zeros(strata)
        worth[np.unique(self.strata)] = self._count_effective(values)
        scale = worth / np.maximum(sizes, 1)
        return np.floor(np.bincount(self.strata, values, strata) * scale + 1e-9), np.floor(worth + 1e-9)

    def count_worth(self, values: Floats) -> float:
        """Return the number of independent images that the images are worth, by one value of each, (N,)."""
        worth = self._count_effective(values)
        if not len(worth):
            return 0.0
        return len(worth) ** 2 / float(np.sum(1 / np.maximum(worth, 1e-9))) / self._count_across(values)

    def _count_across(self, values: Floats) -> float:
        """Return the factor by which the variance of the figure is larger because groups are in several strata.

        Args:
            values: (N,) value of each image, whose mean in each stratum is estimated.
        """
        strata = np.unique(self.strata, return_inverse=True)[1]
        groups = np.unique(self.groups, return_inverse=True)[1]
        pairs, cells = np.unique(strata * (groups.max(initial=0) + 1) + groups, return_inverse=True)
        count = int(groups.max(initial=-1)) + 1
        if len(pairs) == count:  # every group is in one stratum
            return 1.0
        sizes = np.bincount(strata).astype(np.float64)
        rest = (values - (np.bincount(strata, values) / sizes)[strata]) / sizes[strata]
        together, apart = (float(np.sum(np.bincount(of, rest) ** 2)) for of in (groups, cells))
        most = len(pairs) / count  # the factor if the images of a group always succeed or fail together
        found = min(most, max(1.0, together / apart)) if apart > 0 else most
        return float((found * count + PRIOR_GROUPS * most) / (count + PRIOR_GROUPS))

    def _count_effective(self, values: Floats, confidence: float = CONFIDENCE) -> Floats:
        """Return the number of independent images that the images of each stratum are worth.

        Args:
            values: (N,) value of each image, whose mean in each stratum is estimated.
            confidence: Confidence of the two-sided interval that the numbers are used for.
        """
        names, strata = np.unique(self.strata, return_inverse=True)
        sizes = np.bincount(strata, minlength=len(names)).astype(np.float64)
        cells = np.unique(strata * (self.groups.max(initial=0) + 1) + self.groups, return_inverse=True)[1]
        shots = np.bincount(cells).astype(np.float64)
        if len(shots) == len(values):  # every image is a group
            return sizes
        rest = values - (np.bincount(strata, values) / sizes)[strata]
        together, apart = float(np.sum(np.bincount(cells, rest) ** 2)), float(np.sum(rest**2))
        mates = np.bincount(strata, shots[cells]) / sizes  # images in the group of an image, itself included
        free = len(shots) - len(names)
        correlation = 1.0
        if apart > 0 and free > 0:
            effect = together * len(shots) / free / apart
            found = (effect - 1) / (float(np.average(mates, weights=sizes)) - 1)
            correlation = (min(1.0, max(0.0, found)) * free + PRIOR_GROUPS) / (free + PRIOR_GROUPS)
        normal = NormalDist().inv_cdf((1 + confidence) / 2)
        few = (normal / student_t_quantile((1 + confidence) / 2, free)) ** 2 if free > 0 else 0.0
        return np.asarray(sizes / (1 + (mates - 1) * correlation) * few)


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
