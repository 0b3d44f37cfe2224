"""A fixed camera's photos train: every set can be split, and what is learned from its training side holds elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from sklearn.ensemble import RandomForestClassifier

from tests.fixed_camera import FixedCamera, Pixels
from trainer.dataset import Dataset, scan

SIZES = (24, 40, 64, 90)
Floats = npt.NDArray[np.float32]
Labelled = tuple[int, Floats]


def check(dataset: Dataset, count: int) -> None:
    """Every class holds out a fifth of its photos, and hardly any is taken for a copy of another."""
    assert dataset.counts("val") == dict.fromkeys(dataset.labels, count // 5)
    assert dataset.counts("train") == dict.fromkeys(dataset.labels, count - count // 5)
    assert dataset.notes == ()
    assert dataset.groups <= count // 10
    assert len(dataset.faults) <= count // 10


@pytest.mark.parametrize("part", SIZES)
def test_the_photos_of_a_fixed_camera_can_be_split(tmp_path: Path, part: int) -> None:
    check(scan(FixedCamera(part=part, width=320).write(tmp_path, 40), val_fraction=0.2), 40)


@pytest.mark.parametrize("near_copies", ["exact", "similar", "off"])
def test_whatever_near_copies_says_no_side_is_empty(tmp_path: Path, near_copies: str) -> None:
    folder = FixedCamera(part=24, width=320).write(tmp_path, 40)
    dataset = scan(folder, val_fraction=0.2, near_copies=near_copies)
    assert dataset.counts("val") == {"a": 8, "b": 8}
    assert bool(dataset.notes) == (near_copies == "similar")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("part", SIZES)
def test_all_24_sets_that_could_not_be_trained_on_can_be_split(tmp_path: Path, part: int, seed: int) -> None:
    check(scan(FixedCamera(part=part, seed=seed).write(tmp_path, 100), val_fraction=0.2), 100)


def thumbnail(pixels: Pixels) -> Floats:
    """(80, 60, 3) of brightness 1."""
    small = np.asarray(Image.fromarray(pixels).resize((80, 60), Image.Resampling.BOX), dtype=np.float32)
    return np.asarray(small / small.mean(), dtype=np.float32)


def find_backgrounds(photos: Sequence[Floats], cameras: int) -> Floats:
    """(cameras, 60, 80, 3): the median of each camera's photos, which follow each other in turn."""
    flat = np.array(photos).reshape(len(photos), -1)
    farthest = flat[np.argmax(((flat - flat[0]) ** 2).sum(axis=1))]
    second = ((flat - flat[0]) ** 2).sum(axis=1) > ((flat - farthest) ** 2).sum(axis=1)
    parts = [~second, second] if cameras == 2 else [np.ones(len(flat), dtype=bool)]
    return np.array([np.median(flat[part], axis=0).reshape(60, 80, 3) for part in parts], dtype=np.float32)


def features(photos: Sequence[Floats], backgrounds: Floats) -> Floats:
    """What stands out of the nearest background most: its colour and how it changes from pixel to pixel."""
    rows = []
    for photo in photos:
        rest = min((photo - background for background in backgrounds), key=lambda rest: float((rest**2).sum()))
        row, column = divmod(int(np.argmax(np.abs(rest).sum(axis=2))), 80)
        spot = np.pad(rest, ((3, 3), (3, 3), (0, 0)))[row : row + 7, column : column + 7]
        steps = np.abs(np.diff(spot, axis=0)).mean(axis=(0, 1)), np.abs(np.diff(spot, axis=1)).mean(axis=(0, 1))
        rows.append(np.concatenate([rest[row, column], spot.mean(axis=(0, 1)), spot.std(axis=(0, 1)), *steps]))
    return np.array(rows, dtype=np.float32)


def accuracy(train: Sequence[Labelled], *tests: Sequence[Labelled], cameras: int) -> list[float]:
    """Of a random forest: learned from `train`, on each of `tests`."""
    backgrounds = find_backgrounds([photo for _, photo in train], cameras)
    forest = RandomForestClassifier(50, random_state=0)
    forest.fit(features([photo for _, photo in train], backgrounds), [label for label, _ in train])
    return [
        float(forest.score(features([photo for _, photo in test], backgrounds), [label for label, _ in test]))
        for test in tests
    ]


def measure(camera: FixedCamera, folder: Path, count: int, separate: int) -> tuple[float, ...]:
    """Accuracy on separate photos after our split and after the set's true one, and on what our split held out.

    Every photo was taken on its own: in truth each is its own group, and any fifth of each class may be held out.
    """
    dataset = scan(camera.write(folder, count), val_fraction=0.2)
    photos = {
        item.path: (item.label, thumbnail(np.asarray(Image.open(item.path))), item.split) for item in dataset.examples
    }
    train, val = (
        [(label, photo) for label, photo, side in photos.values() if side == wanted] for wanted in ("train", "val")
    )
    held_out = np.random.default_rng(camera.seed).permutation(count)[: count // 5]
    true = [
        (label, photo)
        for number, (label, photo, _) in enumerate(photos[path] for path in sorted(photos))
        if number % count not in held_out
    ]
    elsewhere = [
        (label, thumbnail(pixels)) for label, pixels in camera.photos(separate // camera.classes, separate=True)
    ]
    ours, on_held_out = accuracy(train, elsewhere, val, cameras=camera.cameras)
    return ours, *accuracy(true, elsewhere, cameras=camera.cameras), on_held_out


def test_what_is_learned_holds_elsewhere_short(tmp_path: Path) -> None:
    ours, true, held_out = measure(FixedCamera(part=90, width=160), tmp_path, 20, 40)
    assert ours >= true - 0.15
    assert abs(ours - held_out) <= 0.3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seeds", "classes", "texture", "cameras"), [(6, 2, False, 1), (2, 3, False, 1), (2, 2, True, 1), (2, 2, False, 2)]
)
def test_what_is_learned_holds_elsewhere(
    tmp_path: Path,
    seeds: int,
    classes: int,
    texture: bool,
    cameras: int,
    record_property: Callable[[str, object], None],
) -> None:
    """Accuracy on 500 separate photos is within 5 points of the true split's, and of that on what was held out."""
    measured = [
        measure(
            FixedCamera(part=part, width=160, classes=classes, texture=texture, cameras=cameras, seed=seed),
            tmp_path / f"{part}-{seed}",
            100,
            504,
        )
        for part in SIZES
        for seed in range(seeds)
    ]
    ours, true, held_out = np.mean(measured, axis=0)
    record_property("accuracy", {"sets": len(measured), "ours": ours, "true split": true, "held out": held_out})
    assert ours >= true - 0.05
    assert abs(ours - held_out) <= 0.05
