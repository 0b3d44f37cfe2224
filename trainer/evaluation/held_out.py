"""Reads `held_out.jsonl`, which `render_lines` writes: the model's answer to every held-out image of a run.

With these answers a person can look at the images that a model mistakes, and two runs can be compared on the images
that both hold out, without running a model again. One line describes one image:

    {"digest": "9f86d0...", "file": "daisy/12.jpg", "label": "daisy", "predicted": "rose", "score": 0.71, "group": ""}
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from trainer.data.split.stored_split import parse_lines

HELD_OUT_FILE = "held_out.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutAnswer:
    """The model's answer to one held-out image.

    Attributes:
        digest: sha256 of the file's bytes, hex.
        file: Path of the file relative to the dataset's root, which is `dataset.root` in run.json.
        label: Name of the image's class.
        predicted: Name of the class that the model gives it.
        score: Score of that class, 0 to 1, as served.
        group: Name of the image's group; empty when it is in none.
    """

    digest: str
    file: str
    label: str
    predicted: str
    score: float
    group: str = ""

    def __post_init__(self) -> None:
        """Refuse a score that a damaged file names."""
        if not math.isfinite(self.score):
            raise ValueError("the score must be a number")

    @property
    def group_name(self) -> str:
        """Name of the image's group; an image in none is a group of its own."""
        return self.group or self.digest


def parse_held_out(text: str, origin: str) -> dict[str, HeldOutAnswer]:
    """Parse a `held_out.jsonl` into digest and answer of each image; errors name the file `origin`.

    Raises:
        RunError: A line is not an answer.
    """
    return parse_lines(text, origin, HeldOutAnswer)
