"""Photos without labels: whatever lies in a folder and is an image, each content once."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from converters.int8.unlabelled import find_unlabelled
from eaves.errors import ConversionError
from tests.fakes.artifact import encode_png
from trainer.progress import Silent


def write(path: Path, shade: int) -> str:
    """A picture; its sha256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png((shade, 0, 0)))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def find(folder: Path, known: set[str] | None = None, at_most: int = 100) -> tuple[Path, ...]:
    return find_unlabelled(str(folder), known=known or set(), at_most=at_most, progress=Silent())


def test_images_of_all_subfolders_are_found_once_and_in_an_order_of_their_contents(tmp_path: Path) -> None:
    digests = {write(tmp_path / f"{number % 2}/day/{number}.png", number): number for number in range(6)}
    write(tmp_path / "copy.png", 3)
    (tmp_path / "notes.txt").write_text("no image")
    write(tmp_path / ".hidden.png", 9)
    found = find(tmp_path)
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in found] == sorted(digests)
    assert find(tmp_path, at_most=2) == found[:2]


def test_what_was_trained_on_or_has_a_label_is_left_out(tmp_path: Path) -> None:
    trained = write(tmp_path / "0.png", 0)
    write(tmp_path / "1.png", 1)
    assert find(tmp_path, {trained}) == (tmp_path / "1.png",)


def test_no_folder_is_no_photo_and_a_wrong_one_an_error(tmp_path: Path) -> None:
    assert find_unlabelled("", known=set(), at_most=5, progress=Silent()) == ()
    with pytest.raises(ConversionError, match=r"photos without labels can't be read: .* is no folder") as caught:
        find(tmp_path / "gone")
    assert caught.value.hint == "give a folder of photos: convert.unlabelled"
