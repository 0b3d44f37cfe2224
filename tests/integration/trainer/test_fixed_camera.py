"""A fixed camera's photos train: every set can be split, and what is learned from its training side holds elsewhere."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from trainer.data.dataset import Dataset, scan

SIZES = (12, 45)
"""Diameters of the parts, of 320 pixels of width."""
WIDTH, HEIGHT = 320, 240
COLOURS = {"good": (30, 160, 30), "bad": (200, 30, 30)}


def write_photos(root: Path, part: int, count: int) -> Path:
    """Photos of one background with a part of a class's colour somewhere, in other light and noise each time."""
    chance = np.random.default_rng(part)
    background = Image.fromarray(chance.integers(0, 255, (8, 8, 3), dtype=np.uint8))
    background = background.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    for label, colour in COLOURS.items():
        (root / label).mkdir()
        for number in range(count):
            image, x, y = background.copy(), int(chance.integers(25, 275)), int(chance.integers(25, 200))
            ImageDraw.Draw(image).ellipse([x, y, x + part, y + part], fill=colour)
            pixels = (np.asarray(image) + chance.normal(0, 6, (HEIGHT, WIDTH, 3))) * chance.uniform(0.9, 1.1)
            shot = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
            shot.save(root / label / f"{number:04d}.jpg", quality=90)
    return root


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
def test_the_photos_of_a_fixed_camera_can_be_split(tmp_path: Path, part: int):
    check(scan(write_photos(tmp_path, part, 40), val_fraction=0.2), 40)
