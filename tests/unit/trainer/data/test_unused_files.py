"""Files that training doesn't use are reported, each with its cause."""

from __future__ import annotations

from pathlib import Path

import pytest

from eaves.errors import DatasetError
from tests.unit.trainer.data.test_dataset import fill
from trainer.data.dataset import scan
from trainer.data.listing import Cause, DataFault, group_by_cause


def test_photos_of_a_phone_are_reported_with_what_converts_them(tmp_path: Path) -> None:
    fill(tmp_path, "a", "b")
    for name in ("one.HEIC", "two.heif", "three.avif"):
        (tmp_path / "a" / name).write_bytes(b"x")
    faults = scan(tmp_path, val_fraction=0.2).faults
    assert {fault.file for fault in faults} == {"a/one.HEIC", "a/two.heif", "a/three.avif"}
    assert all("magick mogrify -format jpg" in fault.reason for fault in faults)
    for file in (tmp_path / "a").glob("*.png"):
        file.unlink()
    with pytest.raises(DatasetError, match=r"the class a has no images; a file of it is not used: HEIC"):
        scan(tmp_path, val_fraction=0.2)


def test_a_folder_of_one_class_is_reported_as_what_it_is(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(b"x")
    with pytest.raises(DatasetError, match="3 images lie directly in") as caught:
        scan(tmp_path, val_fraction=0.2)
    assert str(caught.value.hint).startswith(f"name the folder above, {tmp_path.parent}, if")


def test_causes_are_counted_the_most_frequent_first() -> None:
    faults = [
        DataFault(file="a/1.png", reason="the file is empty (0 bytes)"),
        DataFault(file="a/2.png", reason="the image is corrupt: broken PNG file"),
        DataFault(file="a/3.png", reason="the image is corrupt: truncated"),
        DataFault(file="a/4.png", reason="it has the same bytes as a/5.png"),
        DataFault(file="a/6.png", reason="it has the same bytes as a/7.png"),
        DataFault(file="a/8.png", reason="it has the same bytes as b/7.png"),
    ]
    assert group_by_cause(faults) == [
        Cause(reason="it has the same bytes as another file", files=("a/4.png", "a/6.png", "a/8.png")),
        Cause(reason="the image is corrupt", files=("a/2.png", "a/3.png")),
        Cause(reason="the file is empty (0 bytes)", files=("a/1.png",)),
    ]
