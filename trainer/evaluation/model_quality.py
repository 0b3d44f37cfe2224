"""Rates a model by the 95 % interval of its accuracy, against guessing and against a stated bound for usable models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from eaves.base.statistics import lower_bound

Kind = Literal["unknown", "guessing", "weak", "uncertain", "usable"]
Figures = Mapping[str, Any]
FEWEST_IMAGES = 10
"""Minimum number of images that a model is rated on. With fewer images, the interval of the accuracy is wider than 0.5,
and Wilson's interval is too narrow: nine right answers out of nine would count as above 0.7."""
CLASS_CONFIDENCE = 0.975
"""Confidence of the one-sided bound of a class's recall: the upper end of a two-sided interval of 95 %. The bound is
exact, because a class has few images: no right answer out of two says little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRecall:
    """Right answers for one class.

    Attributes:
        name: Name of the class.
        right: Number of its images that the model gets right.
        images: Number of its images.
    """

    name: str
    right: int
    images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelQuality:
    """Rating of a model on images that it was not trained on.

    Every level follows from the interval, never from the accuracy itself, so that few images make no model look good
    or bad. The bound is the larger of `usable_accuracy` and `baseline`.

    Attributes:
        kind: Level of the rating. `usable`: the whole interval is above the bound; `uncertain`: the interval is above
            the baseline and contains the bound; `weak`: the interval is above the baseline and below the bound;
            `guessing`: the interval contains the baseline, or is below it, and does not reach the bound; `unknown`: the
            interval contains both, or all images are of one class, so that the images show nothing.
        accuracy: Share of the images that the model gets right.
        interval_95: 95 % confidence interval of the accuracy, (lower end, upper end).
        images: Number of images.
        baseline: Accuracy of always answering the most frequent class of the images.
        baseline_class: Most frequent class of the images.
        worst_class: Class with the lowest recall; empty when no class has images.
        worst_recall: Share of the images of the worst class that the model gets right.
        usable_accuracy: Accuracy, 0 to 1, that the interval's lower end must exceed for `usable`.
        classes: Number of classes that have images.
        weak_classes: Classes that the model gets right too rarely: the upper bound of their recall is below
            `usable_accuracy`.
        worst: Right answers for the worst class.
        unmeasured: Classes without any image, of which nothing is known.
        text: The rating as one sentence without a full stop; `trainer.evaluation.quality_sentence` gives it.
    """

    kind: Kind
    accuracy: float
    interval_95: tuple[float, float]
    images: int
    baseline: float
    baseline_class: str
    worst_class: str
    worst_recall: float
    usable_accuracy: float
    classes: int = 0
    weak_classes: tuple[ClassRecall, ...] = ()
    unmeasured: tuple[str, ...] = ()
    worst: ClassRecall = field(default=ClassRecall(name="", right=0, images=0))
    text: str = ""

    @property
    def bound(self) -> float:
        """Accuracy above which a model counts as usable."""
        return max(self.usable_accuracy, self.baseline)

    def to_dict(self) -> dict[str, Any]:
        """Return the rating as plain data for JSON."""
        made = asdict(self) | {"interval_95": list(self.interval_95), "unmeasured": list(self.unmeasured)}
        made["weak_classes"] = [item.name for item in self.weak_classes]
        return {name: value for name, value in made.items() if name not in ("worst", "classes")}


def rate_model(measured: Figures, *, usable_accuracy: float) -> ModelQuality:
    """Rate a model by its answers to images that it was not trained on.

    Args:
        measured: Result of `trainer.evaluation.metrics.summarize`: `val_accuracy`, `val_accuracy_interval_95`,
            `val_images`, `per_class`.
        usable_accuracy: Accuracy, 0 to 1, that the interval's lower end must exceed for the level `usable`.
    """
    per_class: Mapping[str, Figures] = measured["per_class"]
    seen = {name: figures for name, figures in per_class.items() if figures["images"]}
    images = int(measured["val_images"])
    most = max(seen, key=lambda name: seen[name]["images"], default="")
    low, high = measured["val_accuracy_interval_95"]
    baseline = seen[most]["images"] / images if images else 1.0
    worst = _recall(seen, min(seen, key=lambda name: (seen[name]["recall"], seen[name]["images"]), default=""))
    enough = len(seen) > 1 and images >= FEWEST_IMAGES
    recalls = (_recall(seen, name) for name in seen)
    return ModelQuality(
        kind=_rate(low, high, baseline, max(baseline, usable_accuracy)) if enough else "unknown",
        accuracy=measured["val_accuracy"],
        interval_95=(low, high),
        images=images,
        baseline=baseline,
        baseline_class=most,
        worst_class=worst.name,
        worst_recall=worst.right / worst.images if worst.images else 0.0,
        usable_accuracy=usable_accuracy,
        classes=len(seen),
        weak_classes=tuple(item for item in recalls if _highest_recall(item) < usable_accuracy),
        unmeasured=tuple(name for name in per_class if name not in seen),
        worst=worst,
    )


def _rate(low: float, high: float, baseline: float, bound: float) -> Kind:
    if low > bound:
        return "usable"
    if low > baseline:
        return "uncertain" if high > bound else "weak"
    return "unknown" if high > bound else "guessing"


def _highest_recall(item: ClassRecall) -> float:
    return 1 - lower_bound(item.images - item.right, item.images, CLASS_CONFIDENCE)


def _recall(per_class: Mapping[str, Figures], name: str) -> ClassRecall:
    figures = per_class.get(name, {"right": 0, "images": 0})
    return ClassRecall(name=name, right=int(figures["right"]), images=int(figures["images"]))
