"""A fixed camera's photos train: every set can be split, and what is learned from its training side holds elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.inputs.fixed_camera import FixedCamera
from trainer.data.dataset import Dataset, scan

SIZES = (24, 90)


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
