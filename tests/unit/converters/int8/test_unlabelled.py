"""Photos without labels: whatever lies in a folder and is an image, each content once."""

from __future__ import annotations

import hashlib
import io
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from converters.int8.images import find_unlabelled
from eaves.errors import ConversionError
from tests.fakes.models.artifact import encode_png
from trainer.progress import SilentProgress


def draw(seed: int, side: int = 96) -> Image.Image:
    """A picture that no other seed's looks like."""
    patches = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize((side, side), Image.Resampling.BICUBIC)


def encode(image: Image.Image, kind: str = "PNG", **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write(path: Path, seed: int) -> str:
    """A picture; its sha256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(draw(seed)))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def find(folder: Path | str, at_most: int = 100) -> tuple[Path, ...]:
    return find_unlabelled(str(folder), known=set(), looks=(), at_most=at_most, progress=SilentProgress())


def test_images_of_all_subfolders_are_found_once_and_in_an_order_of_their_contents(tmp_path: Path) -> None:
    digests = {write(tmp_path / f"{number % 2}/day/{number}.png", number): number for number in range(6)}
    write(tmp_path / "copy.png", 3)
    (tmp_path / "notes.txt").write_text("no image")
    write(tmp_path / ".hidden.png", 9)
    found = find(tmp_path)
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in found] == sorted(digests)
    assert find(tmp_path, at_most=2) == found[:2]


def test_one_picture_in_many_files_is_one_photo(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Other bytes after the picture's, other sizes and other encodings are no other photo."""
    for number in range(20):
        (tmp_path / f"{number}.png").write_bytes(encode(draw(1)) + bytes([number]))
    for quality in (60, 75, 90):
        (tmp_path / f"{quality}.jpg").write_bytes(encode(draw(1), "JPEG", quality=quality))
    (tmp_path / "large.png").write_bytes(encode(draw(1, side=200)))
    write(tmp_path / "other.png", 2)
    with caplog.at_level(logging.WARNING):
        found = find(tmp_path)
    assert len(found) == 2
    assert tmp_path / "other.png" in found
    (message,) = caplog.messages
    assert message == (
        "2 of 25 photos without labels differ and can judge int8: 23 are copies of others or of labelled images, "
        "and 0 have only one colour or can't be read"
    )


def test_pictures_of_one_colour_show_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for shade in range(20):
        (tmp_path / f"{shade}.png").write_bytes(encode_png((shade, 0, 0)))
    write(tmp_path / "photo.png", 1)
    assert find(tmp_path) == (tmp_path / "photo.png",)
    assert "20 have only one colour or can't be read" in caplog.text


def test_no_folder_is_no_photo_and_a_wrong_one_an_error(tmp_path: Path) -> None:
    assert find("") == ()
    with pytest.raises(ConversionError, match=r"photos without labels can't be read: .* is not a folder") as caught:
        find(tmp_path / "gone")
    assert caught.value.hint == "set convert.unlabelled to a folder of photos"
