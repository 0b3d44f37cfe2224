"""Photos of one part under a fixed camera: `small_cnn` learns from them what a random forest learns, or more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.ensemble import RandomForestClassifier

from eaves.config import SettingsLayer, build
from tests.inputs.parts import CLASSES, write_parts
from trainer.run.run import Run
from trainer.settings import DataSettings, TrainSettings
from trainer.train import train

THUMBNAIL = 32
"""Side of what the forest sees, pixels: the side of `small_cnn`'s input."""


def read_thumbnails(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """(images, pixels) float and (images,) labels of a folder per class."""
    rows, labels = [], []
    for label, kind in enumerate(CLASSES):
        for file in sorted((folder / kind).iterdir()):
            with Image.open(file) as image:
                small = image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
            rows.append(np.asarray(small, dtype=np.float32).ravel())
            labels.append(label)
    return np.stack(rows), np.array(labels)


def score_forest(data: Path, seed: int) -> float:
    forest = RandomForestClassifier(300, random_state=seed).fit(*read_thumbnails(data / "train"))
    return float(forest.score(*read_thumbnails(data / "val")))


def train_small_cnn(data: Path, output: Path, seed: int) -> Run:
    settings = build(TrainSettings, SettingsLayer(origin="test", values={"arch": "small_cnn", "seed": seed}))
    return train(DataSettings(path=data), settings, output)


def write_both_sides(data: Path, each: int, held_out: int, seed: int) -> Path:
    write_parts(data / "train", each, seed=2 * seed)
    write_parts(data / "val", held_out, seed=2 * seed + 1)
    return data


def test_small_cnn_learns_parts_as_a_forest_does(tmp_path: Path) -> None:
    data = write_both_sides(tmp_path / "data", 60, 30, seed=0)
    made = train_small_cnn(data, tmp_path / "run", seed=0)
    assert made.val_accuracy >= score_forest(data, seed=0) - 0.02
    assert made.val_accuracy >= 0.75
