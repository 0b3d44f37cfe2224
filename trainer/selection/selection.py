"""Defines the record of what was selected for a training, which run.json, the log and the report show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from eaves.base.statistics import round_outward
from trainer.model.scales import Scale, find_scale
from trainer.settings import TrainSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateFigures:
    """A row of the table: a candidate and what was measured of it.

    Attributes:
        arch: Name of the architecture.
        size: Side of the input, pixels.
        scale: Name of the pixel scale.
        accuracy: Share of the images that the best head on the candidate's features gets right in cross-validation,
            with the classes' weights; None if it wasn't measured.
        interval_95: 95 % confidence interval of the accuracy, (lower end, upper end); None if it wasn't measured.
        cpu_ms: Processor time that TensorFlow takes for one image, ms; None if it wasn't measured.
        megabytes: Size of the weights as 32-bit floats, MB (10^6 bytes); None if it wasn't measured.
        head: The best head as text; empty if it wasn't measured.
        note: `chosen`, or why the candidate was not measured; else empty.
    """

    arch: str
    size: int
    scale: str
    accuracy: float | None = None
    interval_95: tuple[float, float] | None = None
    cpu_ms: float | None = None
    megabytes: float | None = None
    head: str = ""
    note: str = ""

    def cells(self) -> list[str]:
        """Return the row as texts, in the order of `COLUMNS`."""
        accuracy = "" if self.accuracy is None else f"{self.accuracy:.3f}"
        if self.interval_95 is not None:
            accuracy += " ({:.2f} to {:.2f})".format(*round_outward(self.interval_95, 2))
        figures = ["" if value is None else f"{value:.0f}" for value in (self.cpu_ms, self.megabytes)]
        return [self.arch, str(self.size), self.scale, accuracy, *figures, self.head, self.note]


COLUMNS = ("network", "input", "pixels", "accuracy (95 % interval)", "CPU ms", "MB", "head", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSelection:
    """What a training begins with, and why.

    Attributes:
        arch: Name of the architecture.
        image_size: Side of the input, pixels; 0 means the architecture's default.
        scale: Pixel scale.
        reasons: Sentences without a full stop.
        doubt: Sentence without a full stop that a person should act on; empty for none.
        images: Number of training images that candidates were compared on.
        figures: The table's rows: first the scales, if they were measured, then the backbones and sizes.
        predicted: Index of the class that each image got in nested cross-validation, by the image's digest; empty if
            enough images are held out.
    """

    arch: str
    image_size: int
    scale: Scale
    reasons: tuple[str, ...] = ()
    doubt: str = ""
    images: int = 0
    figures: tuple[CandidateFigures, ...] = ()
    predicted: Mapping[str, int] | None = None

    def apply(self, settings: TrainSettings) -> TrainSettings:
        """Return the settings with what was selected."""
        return replace(settings, arch=self.arch, image_size=self.image_size)

    def render(self) -> str:
        """Return the table as text, one line for each row; empty if nothing was measured."""
        rows = [COLUMNS, *(row.cells() for row in self.figures)] if self.figures else []
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(map(str.ljust, row, widths)) for row in rows)
        return "\n".join(line.rstrip() for line in lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the selection as plain data for run.json, without the predictions."""
        return {
            "arch": self.arch,
            "image_size": self.image_size,
            "scale": self.scale.name,
            "pixels_become": self.scale.words,
            "reasons": list(self.reasons),
            "doubt": self.doubt,
            "images": self.images,
            "figures": [
                asdict(row) | {"interval_95": row.interval_95 and list(row.interval_95)} for row in self.figures
            ],
        }


def parse_selection(values: Mapping[str, Any], predicted: Mapping[str, int] | None) -> ModelSelection:
    """Parse the result of `ModelSelection.to_dict`.

    Raises:
        KeyError, TypeError, ValueError: The values are not those of a selection.
    """
    return ModelSelection(
        arch=str(values["arch"]),
        image_size=int(values["image_size"]),
        scale=find_scale(values["scale"]),
        reasons=tuple(values["reasons"]),
        doubt=str(values["doubt"]),
        images=int(values["images"]),
        figures=tuple(parse_figures(values["figures"])),
        predicted=predicted,
    )


def parse_figures(rows: Sequence[Mapping[str, Any]]) -> list[CandidateFigures]:
    """Parse the rows of the table in the result of `ModelSelection.to_dict`."""
    return [
        CandidateFigures(**{**row, "interval_95": row["interval_95"] and tuple(row["interval_95"])}) for row in rows
    ]
