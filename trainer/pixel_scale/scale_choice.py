"""Defines the record of a run's pixel scale and its reason, which run.json, the log and the report show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from trainer.pixel_scale.scales import SCALES, Scale

By = Literal["architecture", "setting", "keras", "probe", "undecided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleMeasurement:
    """Measurement of one scale by a probe.

    Attributes:
        scale: Name of the scale.
        accuracy: Share of the images that a linear classifier on the backbone's features gets right, each by a fit to
            the others; None with too few images.
        interval_95: 95 % confidence interval of the accuracy, (lower end, upper end); None with too few images.
        distance: Distance between the backbone's first features of the images and those of its training, nats; None if
            it can't be measured for the network.
        worse: Whether the answers under this scale are worse than those of the most accurate scale beyond noise.
    """

    scale: str
    accuracy: float | None
    interval_95: tuple[float, float] | None
    distance: float | None
    worse: bool

    def render(self) -> str:
        """Return the measurement as text: `unit 0.77 (0.70 to 0.83), distance 0.07`."""
        parts = [self.scale]
        if self.accuracy is not None and self.interval_95 is not None:
            parts[0] += f" {self.accuracy:.2f} ({self.interval_95[0]:.2f} to {self.interval_95[1]:.2f})"
        if self.distance is not None:
            parts.append(f"distance {self.distance:.2g}" if self.distance < 1000 else "distance over 1,000")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleChoice:
    """A scale and the reason for it.

    Attributes:
        scale: The chosen scale.
        by: How the scale was chosen. `architecture`: the weights are the published ones, or there are none, or the
            architecture's scale can't be measured; `setting`: `train.scale` names it; `keras`: the file is one that
            Keras publishes; `probe`: it was measured; `undecided`: it is the architecture's own, because the probe was
            undecided.
        reason: Reason for the choice, as sentences without the last full stop.
        images: Number of training images that were probed.
        figures: Measurements of every probed scale, the best first.
    """

    scale: Scale
    by: By
    reason: str
    images: int = 0
    figures: tuple[ScaleMeasurement, ...] = ()

    def render_line(self) -> str:
        """Return the reason and the figures as one line for a terminal."""
        if not self.figures:
            return self.reason
        what = "training images that a linear classifier gets right (95 % interval)"
        counted = f"Share of {self.images} {what}" if self.figures[0].accuracy is not None else "Measured"
        return f"{self.reason}. {counted}: {'; '.join(figure.render() for figure in self.figures)}"

    def to_dict(self) -> dict[str, Any]:
        """Return the choice as plain data for JSON."""
        return {
            "name": self.scale.name,
            "words": self.scale.words,
            "by": self.by,
            "reason": self.reason,
            "images": self.images,
            "figures": [asdict(figure) for figure in self.figures],
        }


def parse_choice(values: Mapping[str, Any]) -> ScaleChoice:
    """Parse the result of `ScaleChoice.to_dict`.

    Raises:
        KeyError, TypeError, ValueError: The values are not those of a choice.
    """
    return ScaleChoice(
        scale=SCALES[values["name"]],
        by=values["by"],
        reason=str(values["reason"]),
        images=int(values["images"]),
        figures=tuple(
            ScaleMeasurement(**{**figure, "interval_95": figure["interval_95"] and tuple(figure["interval_95"])})
            for figure in values["figures"]
        ),
    )
