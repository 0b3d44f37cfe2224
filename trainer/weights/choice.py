"""The scale that a run's images get, and how it was found: the value that run.json, a log line and the report tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trainer.weights.scales import SCALES, Scale

By = Literal["architecture", "setting", "keras", "probe", "undecided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What a probe measured of one scale.

    Attributes:
        scale: Its name.
        accuracy: Share of the images that a linear classifier on the backbone's features gets right, each by a fit to
            the others.
        interval_95: 95 % confidence interval of the accuracy, (lower end, upper end).
        differs: Whether its answers are worse than those of the chosen scale beyond noise.
    """

    scale: str
    accuracy: float
    interval_95: tuple[float, float]
    differs: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A scale and the reason for it.

    Attributes:
        scale: The scale.
        by: `architecture`: the weights are Keras's download, or there are none. `setting`: `train.scale` names it.
            `keras`: the file is one that Keras publishes. `probe`: measured. `undecided`: the architecture's own, for
            the probe found no other that is better beyond noise, or there are too few images.
        reason: Why, as sentences without the last full stop.
        images: Number of training images that were probed.
        figures: Of every scale that was probed, the best first.
    """

    scale: Scale
    by: By
    reason: str
    images: int = 0
    figures: tuple[Figure, ...] = ()

    def render_line(self) -> str:
        """The reason and the figures as one line, for a terminal."""
        if not self.figures:
            return self.reason
        right = ", ".join(
            f"{figure.scale} {figure.accuracy:.2f} ({figure.interval_95[0]:.2f} to {figure.interval_95[1]:.2f})"
            for figure in self.figures
        )
        return f"{self.reason}. Share of {self.images} training images that a linear classifier gets right: {right}"

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return {
            "name": self.scale.name,
            "words": self.scale.words,
            "by": self.by,
            "reason": self.reason,
            "images": self.images,
            "figures": [
                {
                    "scale": figure.scale,
                    "accuracy": figure.accuracy,
                    "interval_95": list(figure.interval_95),
                    "differs": figure.differs,
                }
                for figure in self.figures
            ],
        }


def parse_choice(values: Mapping[str, Any]) -> Choice:
    """Read what `Choice.to_dict` wrote.

    Raises:
        KeyError, TypeError, ValueError: It is something else.
    """
    return Choice(
        scale=SCALES[values["name"]],
        by=values["by"],
        reason=str(values["reason"]),
        images=int(values["images"]),
        figures=tuple(
            Figure(**{**figure, "interval_95": tuple(map(float, figure["interval_95"]))})
            for figure in values["figures"]
        ),
    )
