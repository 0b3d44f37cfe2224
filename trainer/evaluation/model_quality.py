"""Rates a trained model by rule: compares its accuracy with always guessing and with the wanted accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from trainer.model.architectures import PRETRAINED

Kind = Literal["guessing", "weak", "usable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelQuality:
    """Verdict on a model, from the held-out images.

    Attributes:
        kind: Class of the verdict. `guessing`: the interval's lower end is not above the baseline; `usable`: it is
            above the baseline and above `train.usable_accuracy`; `weak`: all other cases.
        accuracy: Share of the held-out images that the model gets right.
        interval_95: 95 % confidence interval of the accuracy, (lower end, upper end).
        images: Number of held-out images.
        baseline: Accuracy of always answering the most frequent class of the held-out images.
        baseline_class: Most frequent class of the held-out images.
        worst_class: Class with the lowest recall; empty when no class has held-out images.
        worst_recall: Share of the held-out images of the worst class that the model gets right.
        usable_accuracy: Value of `train.usable_accuracy`, which the interval's lower end must exceed for `usable`.
        text: The verdict as one sentence without a full stop.
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
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as plain data for JSON."""
        return asdict(self) | {"interval_95": list(self.interval_95)}


def rate_model(measured: Mapping[str, Any], *, arch: str, usable_accuracy: float) -> ModelQuality:
    """Rate a model by its results on the held-out images.

    Args:
        measured: Content of metrics.json: `val_accuracy`, `val_accuracy_interval_95`, `val_images`, `per_class`.
        arch: Architecture of the model.
        usable_accuracy: Accuracy, 0 to 1, that the interval's lower end must exceed for the verdict `usable`.
    """
    classes = {name: figures for name, figures in measured["per_class"].items() if figures["images"]}
    images = int(measured["val_images"])
    baseline_class = max(classes, key=lambda name: classes[name]["images"], default="")
    worst = min(classes, key=lambda name: classes[name]["recall"], default="")
    baseline = classes[baseline_class]["images"] / images if images else 1.0
    low, high = measured["val_accuracy_interval_95"]
    kind: Kind = "guessing" if low <= baseline else "usable" if low > usable_accuracy else "weak"
    return ModelQuality(
        kind=kind,
        accuracy=measured["val_accuracy"],
        interval_95=(low, high),
        images=images,
        baseline=baseline,
        baseline_class=baseline_class,
        worst_class=worst,
        worst_recall=classes[worst]["recall"] if worst else 0.0,
        usable_accuracy=usable_accuracy,
        text=_describe(kind, arch=arch, worst=worst if measured["val_accuracy"] < 1 else ""),
    )


def render_lines(verdict: Mapping[str, Any]) -> tuple[str, str]:
    """Return the two lines that a training ends with: the figures, and the verdict.

    Args:
        verdict: Result of `ModelQuality.to_dict()`, which run.json stores.
    """
    low, high = verdict["interval_95"]
    figures = (
        f"accuracy {verdict['accuracy']:.3f} ({low:.3f} to {high:.3f} with 95 % confidence) on {verdict['images']} "
        f"held-out images; always answering {verdict['baseline_class']!r} gets {verdict['baseline']:.3f}"
    )
    return figures, f"verdict: {verdict['text']}"


def _describe(kind: Kind, *, arch: str, worst: str) -> str:
    if kind == "usable":
        return f"usable; worst class {worst}" if worst else "usable; every held-out image is right"
    advice = f"try --arch {PRETRAINED}" if arch != PRETRAINED else "add images, or look at the mistakes in the report"
    if kind == "weak":
        return f"weak; worst class {worst}: {advice}" if worst else "weak: too few held-out images, add more"
    return f"no better than guessing: {advice}"
