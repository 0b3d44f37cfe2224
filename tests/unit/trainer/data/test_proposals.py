"""Which `data.group_by` is proposed, from names, folders and EXIF times."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath

import pytest
from PIL import Image

from tests.inputs.bursts import write_bursts
from trainer.data.dataset import scan
from trainer.data.groups import find_time, propose_group_by
from trainer.data.listing import LabelledImage


def propose(names: Sequence[str], taken: Sequence[str] = (), groups: Sequence[str] = ()) -> str:
    """What is proposed for images of two classes by turns."""
    labels = [("ok", "scratch")[number % 2] for number in range(len(names))]
    images = [
        LabelledImage(path=Path(), label=label, below=PurePosixPath(name), taken=time)
        for name, label, time in zip(names, labels, taken or [""] * len(names), strict=True)
    ]
    return propose_group_by(images, groups or names)


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
def test_names_and_folders_that_repeat_are_proposed(form: str, setting: str) -> None:
    text = propose(numbered(form))
    assert text.endswith(f"set data.group_by: {setting}")
    assert "60 images show 10 parts, days or cameras" in text


@pytest.mark.parametrize(
    "names",
    [
        [f"IMG_{number:04d}.jpg" for number in range(60)],
        [f"{number}_{number * 7919 % 1000}.jpg" for number in range(60)],
    ],
)
def test_other_names_propose_nothing(names: Sequence[str]) -> None:
    assert propose(names) == ""


def test_bursts_by_their_times_are_proposed_in_words() -> None:
    start = datetime(2026, 3, 14, 10)  # noqa: DTZ001 - EXIF has no zone
    names = [f"{number}.jpg" for number in range(60)]
    bursts = [start + timedelta(minutes=number // 6, seconds=number % 6 // 2) for number in range(60)]
    steady = [start + timedelta(minutes=number) for number in range(60)]
    text = propose(names, [f"{each:%Y:%m:%d %H:%M:%S}" for each in bursts])
    assert text.startswith("by their EXIF times, 60 images were taken within 2 seconds of another one of their class")
    assert propose(names, [f"{each:%Y:%m:%d %H:%M:%S}" for each in steady]) == ""
    assert propose(names, ["2026:19:39 29:00:00"] * 60) == ""


def test_the_time_of_a_photo_is_read_from_its_exif() -> None:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0132] = "2026:03:15 08:00:00"
    exif.get_ifd(0x8769)[0x9003] = "2026:03:14 10:15:30"
    Image.new("RGB", (32, 32)).save(buffer, "JPEG", exif=exif)
    assert find_time(buffer.getvalue()) == "2026:03:14 10:15:30"
    assert find_time(buffer.getvalue().replace(b"Exif", b"Exit")) == ""


def test_a_training_proposes_what_it_does_not_find(tmp_path: Path) -> None:
    photos = write_bursts(tmp_path, parts=12, shots=6)
    (note,) = scan(photos, val_fraction=0.2, near_copies="off").notes
    assert note.endswith("set data.group_by: name:(part[0-9]+)_")
    assert not any("data.group_by: " in note for note in scan(photos, val_fraction=0.2).notes)
    assert scan(photos, val_fraction=0.2, near_copies="off", group_by="name:(part[0-9]+)_").notes == ()
