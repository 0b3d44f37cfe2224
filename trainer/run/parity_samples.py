"""Selects the held-out images that are stored in a run; conversion proves parity on them and records golden images."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from trainer.data.dataset import Dataset, Example

PER_CLASS = 4
"""Maximum number of images of each class; it is reduced, but not below 1, if all classes together exceed `AT_MOST`."""
AT_MOST = 64
"""Maximum number of images of all classes together; with more than `AT_MOST` classes, each class has one image."""


def choose_samples(dataset: Dataset) -> list[Example]:
    """Choose held-out images of every class that has some; the same dataset gives the same images.

    There are at most `AT_MOST` of them, or one of each class.
    """
    per_class = max(1, min(PER_CLASS, AT_MOST // len(dataset.labels)))
    chosen: list[Example] = []
    for label in range(len(dataset.labels)):
        held_out = sorted(
            (item for item in dataset.examples if item.label == label and item.split == "val"),
            key=lambda item: item.digest,
        )
        chosen.extend(held_out[:per_class])
    return chosen


def copy_samples(dataset: Dataset, folder: Path) -> dict[str, Any]:
    """Copy the held-out images that `choose_samples` chooses to `folder`/samples.

    Returns:
        listing: Path of each file relative to `folder`, to its `label` and `sha256`.
    """
    (folder / "samples").mkdir()
    listing = {}
    for number, item in enumerate(choose_samples(dataset)):
        name = f"samples/{number:03d}{item.path.suffix.lower()}"
        shutil.copyfile(item.path, folder / name)
        listing[name] = {"label": dataset.labels[item.label], "sha256": item.digest}
    return listing
