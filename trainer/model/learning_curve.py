"""The share of labels that a head predicts after the first 25, 50, ... of them, and what more labels would bring."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from trainer.grouped_statistics import mean_interval
from trainer.model.candidates import INFLATION, Right, estimate_interval
from trainer.model.feature_sums import Features, Labels
from trainer.model.label_doubts import JudgedLabels, judge_labels
from trainer.model.linear_head import LabelledRows

STEP, MAX_POINTS = 25, 12
"""Number of labels between two points of a curve, or a multiple of it with which there are at most `MAX_POINTS`."""
MORE, MIN_LABELS = 50, 50
"""Number of further labels whose gain is estimated, and the number of labels below which it is not."""
FITTED = 0.25
"""Share of the labels from which on the points of a curve are fitted by accuracy = a - b / labels."""
CHANCE = 1 / 8
"""Share of the variance of the change that the last `MORE` labels have brought, which is added because the gain depends
on the next photos. Measured on 650 photos of 5 flowers in 20 random orders, after 50 to 500 labels (11 numbers): the
mean estimate of 4.3 to 0.2 points differed from the mean real gain by at most 0.6 points from 60 labels on, and by 1.5
at 50. The real gain was measured on the 100 to 550 photos that were left. Up to 150 labels it was in the 95 % interval
in 96 % of the cases. With more, the few photos that are left measure it no better than to 2 points, and it was in the
interval in 53 %, but in 96 % with the error of that measurement. With 0 instead of 1/8, it was in 75 % up to 150."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """A point of a learning curve.

    Attributes:
        labels: Number of labels, of which the heads have seen those outside the fold that they predict.
        accuracy: Share of all labels that they predict, those that came later included.
        low: Lower end of its 95 % interval.
        high: Upper end.
    """

    labels: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedGain:
    """What more labels are expected to bring.

    Attributes:
        more: Number of further labels.
        gain: Expected gain of accuracy, a fraction of 1.
        low: Lower end of its 95 % interval.
        high: Upper end.
        text: A sentence for people.
    """

    more: int
    gain: float
    low: float
    high: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningCurve:
    """What heads predict that are fitted to the first labels.

    The labels that are judged are the same at every point. Where people label what the model is least sure of, these
    are harder than other photos, and the accuracy on others is higher.

    Attributes:
        counts: (P,) number of labels at each point, ascending; the last is that of all.
        right: (P, N) whether each label is predicted.
        judged: Predictions by the heads of the last point.
    """

    counts: Labels
    right: Right
    judged: JudgedLabels

    def points(self) -> list[CurvePoint]:
        """Return the points with their intervals; shots of one pile are no independent evidence."""
        rows, found = self.judged.rows, list[CurvePoint]()
        for count, right in zip(self.counts.tolist(), self.right, strict=True):
            low, high = estimate_interval(right, rows)
            found.append(CurvePoint(labels=count, accuracy=rows.share(right), low=low, high=high))
        return found

    def expect(self) -> ExpectedGain | None:
        """Estimate the gain by `MORE` further labels; None when the curve is too short."""
        count, groups = int(self.counts[-1]), self.judged.rows.groups
        used = self.counts >= min(FITTED * count, self.counts[-2:][0])
        if count < MIN_LABELS or np.count_nonzero(used) < 2:
            return None
        inverse = 1 / self.counts[used] - np.mean(1 / self.counts[used])
        steps = -inverse / np.sum(inverse**2) * (1 / count - 1 / (count + MORE))
        # The fit is linear, so that each image has a gain of its own, of which the estimate is the mean.
        low, high = mean_interval(steps @ self.right[used].astype(float), groups)
        before = max(0, int(np.searchsorted(self.counts, count - MORE, side="right")) - 1)
        since = mean_interval(self.right[-1] - self.right[before].astype(float), groups)
        gain = (low + high) / 2
        reach = math.sqrt(INFLATION * (high - low) ** 2 + CHANCE * (since[1] - since[0]) ** 2) / 2
        low, high = gain - reach, gain + reach
        text = (
            f"{MORE} more labels are expected to bring {100 * gain:.1f} points ({100 * low:.1f} to {100 * high:.1f} "
            f"with 95 % confidence){'' if low > 0 else ', so no gain is shown'}"
        )
        return ExpectedGain(more=MORE, gain=gain, low=low, high=high, text=text)


def measure_curve(features: Features, rows: LabelledRows) -> LearningCurve:
    """Cross-validate heads on the first labels, for some numbers of labels.

    Args:
        features: (N, D) of `compute_evened`, in the order in which the images were labelled.
        rows: The labels, of two or more groups and classes.
    """
    total, folds = len(rows.labels), rows.folds()
    step = STEP * math.ceil(total / (STEP * MAX_POINTS))
    counts, right = list[int](), list[Right]()
    for count in range(step, total, step):
        fitted = np.arange(total) < count
        seen = (rows.labels[fitted & (folds != fold)] for fold in np.unique(folds))
        if all(len(np.unique(labels)) > 1 for labels in seen):
            counts.append(count)
            right.append(judge_labels(features, rows, fitted).right)
    judged = judge_labels(features, rows)
    return LearningCurve(counts=np.array([*counts, total]), right=np.array([*right, judged.right]), judged=judged)
