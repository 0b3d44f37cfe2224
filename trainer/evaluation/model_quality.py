"""Rates a model by the 95 % interval of its figure, against guessing and against a stated bound for usable models.

The figure is the accuracy, or the mean recall where classes count alike in training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from eaves.base.statistics import lower_bound

Kind = Literal["unknown", "guessing", "weak", "uncertain", "usable"]
Figures = Mapping[str, Any]
MIN_GROUPS = 10
"""Minimum number of groups of images (an image without a group is one) that a model is rated on. With fewer images, the
interval of the accuracy is wider than 0.5, and Wilson's interval is too narrow: nine right answers out of nine would
count as above 0.7."""
MIN_CLASS_RECALL = 0.5
"""Recall of each class below which a model is not usable, if the images show it with 95 % confidence."""
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
        effective: Number of independent images that these are worth; less when they are of few groups.
    """

    name: str
    right: int
    images: int
    effective: float

    @property
    def upper_bound(self) -> float:
        """Upper bound of the recall, exact with `CLASS_CONFIDENCE`."""
        scale = self.effective / self.images if self.images else 0.0
        wrong, images = (math.floor(count * scale + 1e-9) for count in (self.images - self.right, self.images))
        return 1 - lower_bound(wrong, images, CLASS_CONFIDENCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelQuality:
    """Rating of a model on images that it was not trained on.

    Every level follows from the interval, never from the accuracy itself, so that few images make no model look good
    or bad. The bound is the larger of `usable_accuracy` and `baseline`.

    Attributes:
        kind: Level of the rating. `usable`: the whole interval is above the bound, and no class is below
            `MIN_CLASS_RECALL`; `uncertain`: the interval is above the baseline and contains the bound; `weak`: the
            interval is above the baseline and below the bound, or a class is below `MIN_CLASS_RECALL`; `guessing`: the
            interval contains the baseline, or is below it, and does not reach the bound; `unknown`: the interval
            contains both, or the images are of one class or of too few groups, so that they show nothing.
        figure: Name of the figure: `accuracy`, the share of the images that the model gets right, or `mean recall`, the
            mean of this share over the classes.
        accuracy: Value of the figure.
        interval_95: 95 % confidence interval of the figure, (lower end, upper end).
        images: Number of images that count in the figure.
        groups: Number of groups of these images.
        lookalikes: Number of further images, which don't count because they look like a training image.
        baseline: Figure of always answering the most frequent class of the images.
        baseline_class: Most frequent class of the images.
        worst_class: Class with the lowest recall; empty when no class has images.
        worst_recall: Share of the images of the worst class that the model gets right.
        usable_accuracy: Figure, 0 to 1, that the interval's lower end must exceed for `usable`.
        classes: Number of classes that have images.
        weak_classes: Classes that the model gets right too rarely: the upper bound of their recall is below
            `usable_accuracy`.
        worst: Right answers for the worst class.
        unmeasured: Classes without any image, of which nothing is known.
        text: The rating as one sentence without a full stop; `trainer.evaluation.quality_sentence` gives it.
    """

    kind: Kind
    figure: str
    accuracy: float
    interval_95: tuple[float, float]
    images: int
    groups: int
    lookalikes: int
    baseline: float
    baseline_class: str
    worst_class: str
    worst_recall: float
    usable_accuracy: float
    classes: int = 0
    weak_classes: tuple[ClassRecall, ...] = ()
    unmeasured: tuple[str, ...] = ()
    worst: ClassRecall = field(default=ClassRecall(name="", right=0, images=0, effective=0))
    text: str = ""

    @property
    def bound(self) -> float:
        """Figure above which a model counts as usable."""
        return max(self.usable_accuracy, self.baseline)

    @property
    def missed_classes(self) -> tuple[ClassRecall, ...]:
        """Weak classes that are shown to be right in less than `MIN_CLASS_RECALL` of their images."""
        return tuple(item for item in self.weak_classes if item.upper_bound < MIN_CLASS_RECALL)

    def to_dict(self) -> dict[str, Any]:
        """Return the rating as plain data for JSON."""
        made = asdict(self) | {"interval_95": list(self.interval_95), "unmeasured": list(self.unmeasured)}
        made["weak_classes"] = [item.name for item in self.weak_classes]
        return {name: value for name, value in made.items() if name not in ("worst", "classes")}


def rate_model(measured: Figures, *, usable_accuracy: float) -> ModelQuality:
    """Rate a model by its answers to images that it was not trained on.

    Args:
        measured: Result of `trainer.evaluation.metrics.summarize`: `figure`, whose `classes` count without the images
            that look like a training image, and `per_class`, which names all classes.
        usable_accuracy: Figure, 0 to 1, that the interval's lower end must exceed for the level `usable`.
    """
    per_class: Mapping[str, Figures] = measured["per_class"]
    figure: Figures = measured["figure"]
    seen = {name: figure["classes"][name] for name in per_class if name in figure["classes"]}
    most = max(seen or per_class, key=lambda name: (seen or per_class)[name]["images"], default="")
    (low, high), baseline = figure["interval_95"], figure["baseline"]
    recalls = [_recall(name, seen[name]) for name in seen]
    worst = min(recalls, key=lambda item: (item.right / item.images, item.images), default=_recall("", {}))
    enough = len(seen) > 1 and figure["groups"] >= MIN_GROUPS
    kind = _rate(low, high, baseline, max(baseline, usable_accuracy)) if enough else "unknown"
    quality = ModelQuality(
        kind=kind,
        figure=figure["name"],
        accuracy=figure["value"],
        interval_95=(low, high),
        images=figure["images"],
        groups=figure["groups"],
        lookalikes=figure["lookalikes"],
        baseline=baseline,
        baseline_class=most,
        worst_class=worst.name,
        worst_recall=worst.right / worst.images if worst.images else 0.0,
        usable_accuracy=usable_accuracy,
        classes=len(seen),
        weak_classes=tuple(item for item in recalls if item.upper_bound < usable_accuracy),
        unmeasured=tuple(name for name in per_class if name not in seen),
        worst=worst,
    )
    return replace(quality, kind="weak") if kind == "usable" and quality.missed_classes else quality


def _rate(low: float, high: float, baseline: float, bound: float) -> Kind:
    if low > bound:
        return "usable"
    if low > baseline:
        return "uncertain" if high > bound else "weak"
    return "unknown" if high > bound else "guessing"


def _recall(name: str, figures: Figures) -> ClassRecall:
    right, images = int(figures.get("right", 0)), int(figures.get("images", 0))
    return ClassRecall(name=name, right=right, images=images, effective=float(figures.get("effective_images", images)))
