"""The held-out images that travel with a run: conversion proves parity on them and records goldens from them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from trainer.data.dataset import Dataset, Example

PER_CLASS = 4
"""Images of one class, where there are few classes."""
AT_MOST = 64
"""Images in all, while there are no more classes than that; with more, there is one of each class."""


def choose_samples(dataset: Dataset) -> list[Example]:
    """Held-out images of every class that has some, the same ones whenever the dataset is the same.

    They are at most `AT_MOST`, or one of each class.
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
    """Copy the chosen images to `folder`/samples.

    Returns:
        listing: File, relative to `folder`, to its `label` and `sha256`.
    """
    (folder / "samples").mkdir()
    listing = {}
    for number, item in enumerate(choose_samples(dataset)):
        name = f"samples/{number:03d}{item.path.suffix.lower()}"
        shutil.copyfile(item.path, folder / name)
        listing[name] = {"label": dataset.labels[item.label], "sha256": item.digest}
    return listing
