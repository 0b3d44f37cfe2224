"""The labelled images that int8 is fitted to and judged on: never the same ones."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from converters.source import Source
from eaves.errors import ConversionError, DatasetError, StorageError
from trainer.dataset import Example, load_dataset
from trainer.progress import Progress
from trainer.run import Sample
from trainer.settings import DataSettings

AT_MOST = 5000
"""Images judged on: they show a loss of at most 1 point where 6 % of answers differ. Inception V3 takes 7 minutes."""
DECLARED_SHARE = 0.5
"""Of a declared model's samples, the share judged on: no training of ours saw any of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """What int8 needs.

    Attributes:
        calibration: Images that training saw, for the ranges.
        judged: Held-out images with their labels.
        trained: sha256 hex of every image of the training side.
    """

    calibration: tuple[Path, ...]
    judged: tuple[Sample, ...]
    trained: frozenset[str] = frozenset()

    def digest(self) -> str:
        """sha256 over the judged images and their labels, hex."""
        lines = "".join(f"{sample.sha256} {sample.label}\n" for sample in self.judged)
        return hashlib.sha256(lines.encode()).hexdigest()


def load_labelled(source: Source, data: str, *, images: int, cache: Path, progress: Progress) -> Labelled:
    """Find the labelled images of a model and take the sides that its training gave them.

    Args:
        source: The model.
        data: Where they are; empty: where the model says.
        images: How many to calibrate on, at most.
        cache: Local folder for what is downloaded or unpacked.
        progress: Told how far it is.

    Raises:
        ConversionError: When there are none, or they have other classes.
    """
    place = data or source.data_path
    hint = "give the labelled images: convert.data"
    if not place:
        raise ConversionError("nothing says where the labelled images are", hint=hint)
    fraction, seed = _split_of(source)
    try:
        settings = DataSettings(path=place)
        found = load_dataset(settings, val_fraction=fraction, seed=seed, cache=cache, progress=progress)
    except (DatasetError, StorageError) as error:
        raise ConversionError(f"the labelled images can't be read: {error.message}", hint=hint) from error
    if found.labels != tuple(sorted(source.labels)):
        raise ConversionError(
            f"{place} has the classes {', '.join(found.labels[:5])}, the model {', '.join(source.labels[:5])}",
            hint=hint,
        )
    examples = sorted(found.examples, key=lambda example: example.digest)
    return Labelled(
        calibration=tuple(example.path for example in examples if example.split == "train")[:images],
        judged=tuple(_sample(example, found.labels) for example in examples if example.split == "val")[:AT_MOST],
        trained=frozenset(example.digest for example in examples if example.split == "train"),
    )


def _split_of(source: Source) -> tuple[float, int]:
    """Share held out and seed, as training had them."""
    if source.route != "run":
        return DECLARED_SHARE, 0
    try:
        train = json.loads((source.model.parent / "config.json").read_text(encoding="utf-8"))["train"]
        return float(train["val_fraction"]), int(train["seed"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConversionError(
            f"{source.model.parent}/config.json doesn't say which images were held out", hint="train it again"
        ) from error


def _sample(example: Example, labels: tuple[str, ...]) -> Sample:
    return Sample(path=example.path, label=labels[example.label], sha256=example.digest)
