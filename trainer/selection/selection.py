"""Defines the record of what was selected for a training, which run.json, the log and the report show."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from eaves.base.statistics import round_outward
from trainer.model.scales import Scale, find_scale
from trainer.storage import FileStore

SELECTION_FILE = "selection.json"
"""Name of the file beside a run's checkpoints; a resumed run begins with what is in it."""
COLUMNS = ("network", "input", "pixels", "accuracy (95 % interval)", "CPU ms", "MB", "head", "")

Figures = Mapping[str, Any]
"""A row of the table: `arch`; `size` of the input in pixels; name of the `scale`; and a `note`, such as `selected`, or
why the candidate was not measured. If it was: `accuracy`, the share of the images that the best head on the candidate's
features gets right in cross-validation, with the classes' weights; its `interval_95`, [lower end, upper end]; `cpu_ms`,
TensorFlow's processor time for one image; `megabytes` of weights as 32-bit floats; the best `head` as text."""


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
        figures: The table's rows: first the scales, if they were measured, then backbones and sizes.
        predicted: Index of the class that each image got in nested cross-validation, by the image's digest; None if
            enough images are held out.
    """

    arch: str
    image_size: int
    scale: Scale
    reasons: Sequence[str] = field(default_factory=list)
    doubt: str = ""
    images: int = 0
    figures: Sequence[Figures] = field(default_factory=list)
    predicted: Mapping[str, int] | None = None

    def render(self) -> str:
        """Return the table as text, one line for each row; empty if nothing was measured."""
        rows = [COLUMNS, *map(describe_row, self.figures)] if self.figures else []
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(map(str.ljust, row, widths)) for row in rows)
        return "\n".join(line.rstrip() for line in lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the selection as plain data for run.json, without the predictions."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "predicted"}
        return values | {"scale": self.scale.name, "pixels_become": self.scale.words}


def describe_row(row: Figures) -> list[str]:
    """Return a row of the table as texts, in the order of `COLUMNS`."""
    if "accuracy" not in row:
        return [row["arch"], str(row["size"]), row["scale"], "", "", "", "", row["note"]]
    low, high = round_outward(row["interval_95"], 2)
    return [
        row["arch"],
        str(row["size"]),
        row["scale"],
        f"{row['accuracy']:.3f} ({low:.2f} to {high:.2f})",
        f"{row['cpu_ms']:.0f}",
        f"{row['megabytes']:.0f}",
        row["head"],
        row["note"],
    ]


def save_selection(store: FileStore, name: str, owner: str, selection: ModelSelection) -> None:
    """Store a selection; `owner` is the digest of everything that it depends on."""
    values = {"owner": owner, "selection": selection.to_dict(), "predicted": selection.predicted}
    store.write(name, json.dumps(values).encode())


def load_selection(store: FileStore, name: str, owner: str) -> ModelSelection | None:
    """Load the selection of this owner; None when there is none.

    Raises:
        StorageError: The storage can't be read.
    """
    stored = json.loads(store.read(name)) if store.exists(name) else {}
    if stored.get("owner") != owner:
        return None
    values = stored["selection"]
    del values["pixels_become"]
    return ModelSelection(**values | {"scale": find_scale(values["scale"]), "predicted": stored["predicted"]})
