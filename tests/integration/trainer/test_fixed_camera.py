"""A fixed camera's photos train: every set can be split, and what is learned from its training side holds elsewhere."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from converters.evaluation.models import RunModel
from eaves.config import SettingsLayer, build
from tests.inputs.fixed_camera import FixedCamera, encode
from trainer.data.dataset import Dataset, scan
from trainer.run.run import Run
from trainer.settings import DataSettings, TrainSettings
from trainer.train import train

SIDES = {24: 64, 40: 32, 64: 32, 90: 32}
"""Side of the network's input, pixels, by the part's diameter, of 640 pixels of width; a part spans at least two."""
SIZES = tuple(SIDES)
_logger = logging.getLogger(__name__)


def check(dataset: Dataset, count: int) -> None:
    """Every class holds out a fifth of its photos; few look alike, by parts at one place, and hardly any are copies."""
    assert dataset.counts("val") == dict.fromkeys(dataset.labels, count // 5)
    assert dataset.counts("train") == dict.fromkeys(dataset.labels, count - count // 5)
    (note,) = dataset.notes
    assert note.startswith("fixed camera: ")
    assert dataset.lookalikes == frozenset()
    assert dataset.groups <= count // 4
    assert len(dataset.faults) <= count // 10


@pytest.mark.parametrize("part", SIZES)
def test_the_photos_of_a_fixed_camera_can_be_split(tmp_path: Path, part: int) -> None:
    check(scan(FixedCamera(part=part, width=320).write(tmp_path, 40), val_fraction=0.2), 40)


def train_small_cnn(data: Path, output: Path, side: int, seed: int) -> Run:
    values = {"arch": "small_cnn", "image_size": side, "seed": seed}
    return train(DataSettings(path=data), build(TrainSettings, SettingsLayer(origin="test", values=values)), output)


def write_true_split(folder: Path, manifest: Path, seed: int) -> Path:
    """A manifest of the photos in `folder` with the set's true split.

    Every photo was taken on its own: in truth each is its own group, and any fifth of each class may be held out.
    """
    lines = ["path,label,split"]
    chance = np.random.default_rng(seed)
    for label in sorted(folder.iterdir()):
        files = sorted(label.iterdir())
        held_out = set(chance.permutation(len(files))[: len(files) // 5].tolist())
        for number, file in enumerate(files):
            side = "val" if number in held_out else "train"
            lines.append(f"{file.relative_to(manifest.parent)},{label.name},{side}")
    manifest.write_text("\n".join(lines))
    return manifest


def score(run: Run, photos: list[tuple[str, bytes]]) -> float:
    """The share of the photos that the run answers rightly."""
    model = RunModel(run.path)
    return float(np.mean([model.classify(data).label == label for label, data in photos]))


def measure(camera: FixedCamera, folder: Path, *, count: int, separate: int, side: int) -> tuple[float, float, float]:
    """Accuracy on separate photos after our split and after the set's true one, and on what our split held out.

    Args:
        camera: The set.
        folder: A folder for the set and its two runs; it is removed afterwards.
        count: Photos of each class that are trained on or held out.
        separate: Separate photos, of all classes together.
        side: Side of the network's input, pixels.
    """
    photos = camera.write(folder / "photos", count)
    check(scan(photos, val_fraction=0.2), count)
    truth = write_true_split(photos, folder / "truth.csv", camera.seed)
    ours = train_small_cnn(photos, folder / "ours", side, camera.seed)
    true = train_small_cnn(truth, folder / "true", side, camera.seed)
    elsewhere = [
        ("abc"[label], encode(pixels)) for label, pixels in camera.photos(separate // camera.classes, separate=True)
    ]
    measured = score(ours, elsewhere), score(true, elsewhere), ours.val_accuracy
    _logger.info("%s: ours %.3f, true split %.3f, held out %.3f", camera, *measured)
    shutil.rmtree(folder)
    return measured


def test_what_is_learned_holds_elsewhere_short(tmp_path: Path) -> None:
    ours, true, held_out = measure(FixedCamera(part=90), tmp_path / "set", count=40, separate=80, side=32)
    assert ours >= true - 0.05
    assert abs(ours - held_out) <= 0.1
    assert true >= 0.9
