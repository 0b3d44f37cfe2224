"""Defines the record of what was selected for a training, which run.json, the log and the report show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eaves.base.statistics import round_outward
from trainer.model.scales import Scale, find_scale
from trainer.storage import FileStore

SELECTION_FILE = "selection.json"
"""Name of the file beside a run's checkpoints; a resumed run begins with what is in it."""
COLUMNS = ("input", "pixels", "accuracy (95 % interval)", "head", "")

Figures = Mapping[str, Any]
"""A row of the table: `size` of the input in pixels; name of the `scale`; `accuracy`, the share of the images that the
best head on the candidate's features gets right in cross-validation, with the classes' weights; its `interval_95`,
[lower end, upper end]; the best `head` as text; and a `note`, such as `selected`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSelection:
    """What a training begins with, and why.

    Attributes:
        image_size: Side of the input, pixels; 0 means the architecture's default.
        scale: Pixel scale.
        reasons: Sentences without a full stop.
        doubt: Sentence without a full stop that a person should act on; empty for none.
        images: Number of training images that candidates were compared on.
        figures: The table's rows: first the scales, if they were measured, then the sizes.
        predicted: Index of the class that each image got in nested cross-validation, by the image's digest; None if
            enough images are held out.
    """

    image_size: int
    scale: Scale
    reasons: tuple[str, ...] = ()
    doubt: str = ""
    images: int = 0
    figures: tuple[Figures, ...] = ()
    predicted: Mapping[str, int] | None = None

    def render(self) -> str:
        """Return the table as text, one line for each row; empty if nothing was measured."""
        rows = [COLUMNS, *map(describe_row, self.figures)] if self.figures else []
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(map(str.ljust, row, widths)) for row in rows)
        return "\n".join(line.rstrip() for line in lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the selection as plain data for run.json, without the predictions."""
        return {
            "image_size": self.image_size,
            "scale": self.scale.name,
            "pixels_become": self.scale.words,
            "reasons": list(self.reasons),
            "doubt": self.doubt,
            "images": self.images,
            "figures": list(self.figures),
        }


def describe_row(row: Figures) -> list[str]:
    """Return a row of the table as texts, in the order of `COLUMNS`."""
    low, high = round_outward(row["interval_95"], 2)
    return [
        str(row["size"]),
        row["scale"],
        f"{row['accuracy']:.3f} ({low:.2f} to {high:.2f})",
        row["head"],
        row["note"],
    ]


def save_selection(store: FileStore, fingerprint: str, selection: ModelSelection) -> None:
    """Store what was selected for the training with this fingerprint beside its checkpoints."""
    predicted = None if selection.predicted is None else dict(selection.predicted)
    values = {"owner": fingerprint, "selection": selection.to_dict(), "predicted": predicted}
    store.write(SELECTION_FILE, json.dumps(values).encode())


def load_selection(store: FileStore, fingerprint: str) -> ModelSelection | None:
    """Load what was selected for the training with this fingerprint; None when there is none.

    Raises:
        StorageError: The storage can't be read.
    """
    stored = json.loads(store.read(SELECTION_FILE)) if store.exists(SELECTION_FILE) else {}
    if stored.get("owner") != fingerprint:
        return None
    values = stored["selection"]
    return ModelSelection(
        image_size=values["image_size"],
        scale=find_scale(values["scale"]),
        reasons=tuple(values["reasons"]),
        doubt=values["doubt"],
        images=values["images"],
        figures=tuple(values["figures"]),
        predicted=stored["predicted"],
    )
