"""Which `data.group_by` is proposed, from names and folders."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest

from tests.inputs.bursts import write_bursts
from trainer.data.dataset import scan
from trainer.data.groups import propose_group_by
from trainer.data.listing import LabelledImage


def propose(names: Sequence[str]) -> str:
    """What is proposed for images of two classes by turns."""
    labels = [("ok", "scratch")[number % 2] for number in range(len(names))]
    images = [
        LabelledImage(path=Path(), label=label, below=PurePosixPath(name))
        for name, label in zip(names, labels, strict=True)
    ]
    return propose_group_by(images, names)


def numbered(form: str, parts: int = 10, shots: int = 6) -> list[str]:
    return [form.format(part=part, shot=shot) for part in range(parts) for shot in range(shots)]


@pytest.mark.parametrize(
    ("form", "setting"),
    [
        ("part{part:02d}_{shot}.jpg", "name:(part[0-9]+)_"),
        ("2026-03-{part:02d}_cam1_{shot}.jpg", "name:([0-9]+-[0-9]+-[0-9]+)_"),
        ("monday/part{part}/{shot}.jpg", "folder:2"),
    ],
)
def test_names_and_folders_that_repeat_are_proposed(form: str, setting: str):
    text = propose(numbered(form))
    assert text.endswith(f"set data.group_by: {setting}")
    assert "60 images show 10 parts, days or cameras" in text


@pytest.mark.parametrize(
    "names",
    [
        [f"IMG_{number:04d}.jpg" for number in range(60)],
        [f"{number}_{number * 7919 % 1000}.jpg" for number in range(60)],
        [
            f"{('good', 'bad')[number % 2]}-1-{number:03d}.jpg" if number < 50 else f"{number}.jpg"
            for number in range(60)
        ],
    ],
)
def test_other_names_propose_nothing(names: Sequence[str]):
    """Numbers, and names that say the class."""
    assert propose(names) == ""


def test_a_training_proposes_what_it_does_not_find(tmp_path: Path):
    photos = write_bursts(tmp_path, parts=10, shots=3)
    (note,) = scan(photos, val_fraction=0.2, near_copies="off").notes
    assert note.endswith("set data.group_by: name:(part[0-9]+)_")
    assert not any("data.group_by: " in note for note in scan(photos, val_fraction=0.2).notes)
    assert scan(photos, val_fraction=0.2, near_copies="off", group_by="name:(part[0-9]+)_").notes == ()
