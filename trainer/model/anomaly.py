"""Finds unusual images from features of good ones alone: three methods, the choice of one, and its threshold.

A method gives each position of an image a score. `gaussian` (PaDiM) is the Mahalanobis distance from the good images'
features at the same position, `diagonal` the same without correlations, which needs few bytes: both need a part in a
fixed pose, and follow from sums that add and subtract. `patches` (PatchCore) is the distance to the nearest of some
good features of any position, for a free pose; it doesn't add.

Sources: Defard et al. 2020, PaDiM (arXiv:2011.08785); Roth et al. 2021, Towards Total Recall in Industrial Anomaly
Detection (arXiv:2106.08265); Angelopoulos and Bates 2021, Conformal Prediction (arXiv:2107.07511), section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from eaves.artifact.manifest import GAUSSIAN, MAX_CALIBRATION, NORMAL, PATCHES, AnomalyRule
from eaves.base.statistics import lower_bound, wilson
from trainer.data.listing import LabelledImage
from trainer.grouped_statistics import JudgedImages, mean_interval
from trainer.model.feature_sums import Features, FeatureSums, Floats, Labels, LinearHead, build_projection
from trainer.model.linear_head import FEW_IMAGES

RIDGE = 0.1
"""Share of the mean variance that is added to each variance, so that few images give no tiny ones. AUROC on photos of
solar cells, from 100 good ones: 0.952 with 0.01, 0.954 with 0.1, 0.952 with 1."""
PATCHES_KEPT, PATCHES_COMPARED = 1024, 256
"""Number of good features that `patches` keeps, and the number when methods are compared on more than `FEW_IMAGES`."""
PROJECTED = 32
"""Number of random directions in which distances are measured while features are selected."""
BETTER = 0.02
"""Gain of AUROC for which `patches`, which doesn't add, is taken in place of `gaussian`."""
SURE = 0.95
"""Confidence of the promised share of false alarms."""
ROUNDING = 1e-3
"""Relative increase of the threshold, because the served graph rounds scores in another way than the training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaussian:
    """Good features at each position: their mean, and a map to features of variance 1.

    Attributes:
        mean: (P, D).
        whitening: (P, D, D), or (P, D) without correlations.
    """

    mean: Floats
    whitening: Floats

    @classmethod
    def fit(cls, sums: FeatureSums, *, full: bool) -> Gaussian:
        """Return the Gaussian of the images of sums, at least two."""
        mean, covariance = sums.moments()
        variances = np.diagonal(covariance, axis1=1, axis2=2)
        added = max(RIDGE * float(variances.mean()), float(np.finfo(np.float32).tiny))
        if not full:
            return cls(mean=mean, whitening=1 / np.sqrt(np.maximum(variances, 0) + added))
        values, axes = np.linalg.eigh(covariance)  # noise of `eaves federate` may make some of them negative
        return cls(mean=mean, whitening=axes / np.sqrt(np.maximum(values, 0) + added)[:, np.newaxis])

    def expand(self, features: int) -> Gaussian:
        """Return the Gaussian for features before their random projection to fewer, if it is one for projected ones."""
        size = self.mean.shape[1]
        if size >= features:
            return self
        matrix = build_projection(features, size)
        whitening = matrix @ self.whitening @ np.eye(size, features)  # columns of zeros give it the size of any other
        return Gaussian(mean=self.mean @ np.linalg.pinv(matrix), whitening=whitening)

    def weights(self) -> tuple[Floats, Floats]:
        """Return the weights of the graph: whitening and what is added then, or what is subtracted and the divisor."""
        if self.whitening.ndim == 2:
            return self.mean, 1 / self.whitening
        return self.whitening, -(self.mean[:, np.newaxis] @ self.whitening)[:, 0]

    def score(self, features: Features) -> Floats:
        """Return the score at each position, (N, P), of features, (N, ..., D)."""
        apart = features.reshape(len(features), *self.mean.shape) - self.mean
        if self.whitening.ndim == 2:
            return np.asarray(np.sqrt(((apart * self.whitening) ** 2).sum(axis=-1)))
        return np.asarray(np.sqrt(((apart.transpose(1, 0, 2) @ self.whitening) ** 2).sum(axis=-1)).T)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patches:
    """Some good features of any position, far from each other.

    Attributes:
        bank: (M, D), in units of `deviation`.
        deviation: (D,) standard deviation of each feature.
    """

    bank: Floats
    deviation: Floats

    @classmethod
    def fit(cls, features: Features, count: int) -> Patches:
        """Select features, each the one that is farthest from those selected before (greedy k-centre)."""
        rows = features.reshape(-1, features.shape[-1])
        deviation = np.maximum(rows.std(axis=0, dtype=np.float64), 1e-6)
        rows = (rows / deviation).astype(np.float32)
        near = rows @ np.random.default_rng(0).normal(size=(rows.shape[1], PROJECTED)).astype(np.float32)
        chosen = [0]
        distance = ((near - near[0]) ** 2).sum(axis=1)
        while len(chosen) < min(count, len(rows)):
            chosen.append(int(distance.argmax()))
            np.minimum(distance, ((near - near[chosen[-1]]) ** 2).sum(axis=1), out=distance)
        return cls(bank=rows[chosen].astype(np.float64), deviation=deviation)

    def score(self, features: Features) -> Floats:
        """Return the score at each position, (N, P), of features, (N, ..., D)."""
        lengths = (self.bank**2).sum(axis=1)
        found = []
        for image in features.reshape(len(features), -1, features.shape[-1]) / self.deviation:
            squares = (image**2).sum(axis=1) + (lengths - 2 * image @ self.bank.T).min(axis=1)
            found.append(np.sqrt(np.maximum(squares, 0)))
        return np.stack(found)


Scorer = Gaussian | Patches


def fit_scorer(method: str, sums: FeatureSums, features: Features, *, patches: int = PATCHES_KEPT) -> Scorer:
    """Fit one of `METHODS` to good images: their sums, or for `patches` their features, (N, ..., D)."""
    return Patches.fit(features, patches) if method == PATCHES else Gaussian.fit(sums, full=method == GAUSSIAN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """How well scores tell defective images from good ones.

    Attributes:
        auroc: Probability that a defective image has a higher score than a good one.
        interval_95: Its interval; groups are the unit.
    """

    auroc: float
    interval_95: tuple[float, float]


def rank(good: Floats, defective: Floats, good_groups: Sequence[str], defective_groups: Sequence[str]) -> Ranking:
    """Return how well the scores of good, (N,), and defective images, (M,), tell them apart.

    Source: DeLong, DeLong and Clarke-Pearson 1988, Comparing the Areas under Two or More Correlated ROC Curves.
    """

    def share_below(values: Floats, others: Floats) -> Floats:
        ordered = np.sort(others)
        both = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
        return both / (2 * len(ordered))

    above, below = share_below(defective, good), 1 - share_below(good, defective)
    value, fewest = float(above.mean()), min(len(set(good_groups)), len(set(defective_groups)))
    reach = [
        np.subtract(*mean_interval(part, of)[::-1]) / 2
        for part, of in ((above, defective_groups), (below, good_groups))
    ]
    low, high = wilson(value * fewest, fewest)  # scores that never cross leave no variance to estimate from
    whole = float(np.hypot(*reach))
    return Ranking(auroc=value, interval_95=(max(0.0, min(low, value - whole)), min(1.0, max(high, value + whole))))


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossScores:
    """Scores of training images and of their copies with drawn defects, by fits without the image's fold.

    Attributes:
        method: The method.
        good: (N,) scores of the images.
        drawn: (N,) scores of their copies.
        ranking: How well they tell them apart.
    """

    method: str
    good: Floats
    drawn: Floats
    ranking: Ranking


def cross_score(
    method: str, good: Features, drawn: Features, folds: Labels, groups: Sequence[str], whole: FeatureSums
) -> CrossScores:
    """Score each image, (N, ..., D), and its copy by a fit to the other folds.

    Args:
        method: One of `METHODS`.
        good: Features of good images.
        drawn: Features of their copies with drawn defects.
        folds: (N,) fold of each image.
        groups: Group of each image.
        whole: Sums of all the good images; those of a fold are subtracted.
    """
    of_good, of_drawn = np.zeros(len(good)), np.zeros(len(good))
    patches = PATCHES_KEPT if len(good) <= FEW_IMAGES else PATCHES_COMPARED
    for fold in np.unique(folds):
        inside = folds == fold
        of_fold = FeatureSums.empty(whole.labels, whole.origin, whole.shift)
        left = whole.subtract(of_fold.add(good[inside], np.zeros(int(inside.sum()), np.int64)))
        scorer = fit_scorer(method, left, good[~inside], patches=patches)
        of_good[inside], of_drawn[inside] = (scorer.score(images[inside]).max(axis=1) for images in (good, drawn))
    return CrossScores(method=method, good=of_good, drawn=of_drawn, ranking=rank(of_good, of_drawn, groups, groups))


def choose_method(compared: Sequence[CrossScores]) -> CrossScores:
    """Return the method to take, the first unless another one is clearly better."""
    first, best = compared[0], max(compared, key=lambda one: one.ranking.auroc)
    return best if best.ranking.auroc > first.ranking.auroc + BETTER else first


def measure_alignment(sums: FeatureSums) -> float:
    """Return the share of the features' variance that the position explains: near 1 for a part in a fixed pose."""
    mean, covariance = sums.moments()
    within = float(np.trace(covariance, axis1=1, axis2=2).mean())
    return 1 - within / (within + float(mean.var(axis=0).sum()))


@cache
def bound_alarms(above: int, groups: int) -> float:
    """Return the upper bound of the share of false alarms, of a threshold that some of the groups are above.

    A share is promised from the number of groups on whose bound with none above it is at most this share.
    """
    return 1 - lower_bound(groups - above, groups, SURE)


def set_threshold(
    scores: Floats, groups: Sequence[str], *, false_alarms: float, unseen: bool, good: str, method: str
) -> AnomalyRule:
    """Choose the threshold above which an image is anomalous.

    A group counts by its highest score. If n groups were not seen by the fit, a threshold at their k-th highest score
    gives false alarms in a share with the distribution Beta(k, n + 1 - k), whatever the method.

    Args:
        scores: (N,) scores of good images.
        groups: Group of each image.
        false_alarms: Largest share of good images that may raise an alarm.
        unseen: Whether one fit without all these images made the scores; if each has a fit of its own, in
            cross-validation, nothing is promised.
        good: Name of the class of good images.
        method: The method that made the scores.
    """
    names, of_group = np.unique(np.asarray(groups), return_inverse=True)
    highest = np.full(len(names), -np.inf)
    np.maximum.at(highest, of_group, scores)
    highest, count = np.sort(highest)[::-1], len(names)
    promised = unseen and bound_alarms(0, count) <= false_alarms
    rank = max(0, math.floor(false_alarms * (count + 1)) - 1)
    while promised and bound_alarms(rank, count) > false_alarms:
        rank -= 1
    ranks = np.linspace(0, len(scores) - 1, min(len(scores), MAX_CALIBRATION)).astype(np.int64)
    kept = np.sort(scores)[ranks]
    return AnomalyRule(
        good=good,
        method=method,
        threshold=float(highest[min(rank, count - 1)]) * (1 + ROUNDING),
        calibration=tuple(float(score) for score in kept),
        groups=count,
        false_alarms=bound_alarms(rank, count) if promised else 0.0,
        confidence=SURE if promised else 0.0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedAnomaly:
    """A fitted method with its threshold.

    Attributes:
        scorer: The method.
        rule: The threshold and the scores that it follows from.
    """

    scorer: Scorer
    rule: AnomalyRule

    @property
    def spread(self) -> float:
        """Score that is one unit of a logit: the standard deviation of good images' scores."""
        return max(float(np.std(self.rule.calibration)), 1e-3 * self.rule.threshold)

    @property
    def decision(self) -> LinearHead:
        """The map from an image's score, (N, 1), to the logits of normal and anomalous, (N, 2)."""
        bias = np.array([0, -self.rule.threshold / self.spread])
        return LinearHead(kernel=np.array([[0, 1 / self.spread]]), bias=bias)

    def logits(self, scores: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return (N, 2) logits of normal and anomalous for scores, (N,); above the threshold anomalous has more."""
        return self.decision(scores[:, np.newaxis]).astype(np.float32)


def describe_anomalies(
    rule: AnomalyRule,
    crossed: Sequence[CrossScores],
    sums: FeatureSums,
    held_out: Sequence[LabelledImage],
    scores: Floats,
) -> dict[str, Any]:
    """Return what metrics.json says of an anomaly model, as plain data.

    Args:
        rule: The threshold.
        crossed: Scores of each method that was compared.
        sums: Sums of the compared images.
        held_out: Images that no fit saw, normal and anomalous.
        scores: (N,) their scores.
    """
    return {
        "rule": asdict(rule) | {"calibration": list(rule.calibration)},
        "promise": rule.promise(),
        "alignment": measure_alignment(sums),
        "methods": {one.method: asdict(one.ranking) for one in crossed},
        "kinds": measure_kinds(held_out, scores, scores > rule.threshold),
    }


def measure_kinds(
    images: Sequence[LabelledImage], scores: Floats, alarms: npt.NDArray[np.bool_]
) -> dict[str, dict[str, Any]]:
    """Return for each kind of images how many raise an alarm, and of defects how well scores tell them from good ones.

    Args:
        images: Normal and anomalous images.
        scores: (N,) their scores.
        alarms: (N,) whether each is called anomalous.
    """
    names, of_kind = np.array([image.group_name for image in images]), np.array([image.kind for image in images])
    is_normal = np.array([image.label == NORMAL for image in images], np.bool_)
    kinds: dict[str, dict[str, Any]] = {}
    for kind in sorted(set(of_kind.tolist())):
        inside = of_kind == kind
        found = JudgedImages(names[inside]).estimate(alarms[inside])
        kinds[kind] = {"images": found.images, "alarms": found.right, "share": found.value}
        kinds[kind] |= {"interval_95": [found.low, found.high]}
        if is_normal.any() and not is_normal[inside].any():
            ranking = rank(scores[is_normal], scores[inside], names[is_normal].tolist(), names[inside].tolist())
            kinds[kind] |= {"auroc": ranking.auroc, "auroc_interval_95": list(ranking.interval_95)}
    return kinds
