"""A model that answers by the colour of an image, and labelled images to ask it about."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from converters.evaluation.models import EvaluatedModel, ImagePrediction
from eaves.images.pixels import decode

COLOURS: Mapping[str, tuple[int, int, int]] = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


class ColourModel(EvaluatedModel):
    """Names the colour that an image has most of; `answers` replaces the name of a colour by another."""

    is_balanced: bool | None = False

    def __init__(
        self,
        name: str = "colours",
        *,
        answers: Mapping[str, str] | None = None,
        score: float = 0.9,
    ) -> None:
        self.name = name
        self.kind = "artifact"
        self.labels = tuple(COLOURS)
        self.trained_on = frozenset()
        self._answers = answers or {}
        self._score = score

    def classify(self, data: bytes) -> ImagePrediction:
        """Answer with the same score for every image."""
        means = decode(data).mean(axis=(0, 1))
        seen = ("red", "green", "blue")[int(np.argmax(means))]
        return ImagePrediction(label=self._answers.get(seen, seen), score=self._score, time_ms=float(means.sum()))


def write_colours(root: Path, counts: Mapping[str, int]) -> Path:
    """A folder per class, each with so many different pictures of its colour."""
    for label, count in counts.items():
        (root / label).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (16, 16 + number), COLOURS.get(label, (9, 9, 9))).save(root / label / f"{number:03d}.png")
    return root
