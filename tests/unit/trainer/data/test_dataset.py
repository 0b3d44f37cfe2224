"""A folder per class > labelled examples: labels, the split by content, duplicates, and what can't be trained on."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eaves.errors import DatasetError
from trainer.data.dataset import scan
from trainer.data.listing import DataFault


def fill(root: Path, *classes: str, count: int = 20) -> Path:
    """Files that count as images until they are decoded, every one different."""
    for name in classes:
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (root / name / f"{number:02d}.png").write_bytes(f"{root.name} {name} {number}".encode())
    return root


def test_one_image_in_two_classes_names_both(tmp_path: Path):
    fill(tmp_path, "a", "b")
    for file in (tmp_path / "a" / "03.png", tmp_path / "b" / "copy.png"):
        file.write_bytes(b"\x89PNG\r\n\x1a\n one picture")
    with pytest.raises(DatasetError, match=r"a/03\.png and b/copy\.png"):
        scan(tmp_path, val_fraction=0.2)


def test_a_copy_on_both_sides_stays_in_validation(tmp_path: Path):
    fill(tmp_path / "train", "a", "b", count=5)
    fill(tmp_path / "val", "a", "b", count=2)
    (tmp_path / "train" / "a" / "leak.png").write_bytes((tmp_path / "val" / "a" / "00.png").read_bytes())
    dataset = scan(tmp_path, val_fraction=0.2)
    assert dataset.counts("train") == {"a": 5, "b": 5}
    assert dataset.counts("val") == {"a": 2, "b": 2}
    assert [fault.file for fault in dataset.faults] == ["train/a/leak.png"]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (None, "can't read the folder"),
        ({"a": 0}, "no images under"),
        ({"a": 20, "b\nc": 20}, "is not a valid class name"),
        ({"a": 20, "b": 20, "c": 3}, r"a class needs 4 images, .*, but c has 3$"),
        ({"train/a": 5, "train/b": 5, "val/a": 2, "val/c": 2}, "that train does not have: c"),
        ({"train/a": 5, "train/b": 5, "val/a": 0}, "validate on"),
        ({"train/a": 2, "val/a": 2, "test/a": 2}, "beside test"),
    ],
)
def test_what_cant_be_trained_on_is_refused_with_the_reason(
    tmp_path: Path, counts: dict[str, int] | None, message: str
):
    for name, count in (counts or {}).items():
        fill(tmp_path / "photos", name, count=count)
    with pytest.raises(DatasetError, match=message):
        scan(tmp_path / "photos", val_fraction=0.2)


def write_photos(root: Path, labels: str = "ab", start: int = 0, count: int = 10) -> Path:
    """Photos like no others."""
    for number, label in enumerate(labels):
        (root / label).mkdir(parents=True, exist_ok=True)
        for photo in range(count):
            pixels = np.random.default_rng([start, number, photo]).integers(0, 255, (12, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((160, 120), Image.Resampling.BICUBIC).save(root / label / f"{photo}.png")
    return root


def test_held_out_images_that_look_like_training_images_are_known(tmp_path: Path):
    write_photos(tmp_path / "train")
    (tmp_path / "val" / "a").mkdir(parents=True)
    (tmp_path / "val" / "b").mkdir(parents=True)
    for number in range(10):
        for label in "ab":
            photo = Image.open(tmp_path / "train" / label / f"{number}.png")
            photo.save(tmp_path / "val" / label / f"{number}.jpg", quality=80)
    dataset = scan(tmp_path, val_fraction=0.2)
    held = {item.digest for item in dataset.examples if item.split == "val"}
    assert dataset.lookalikes == held
    assert len(held) == 20
    (note,) = dataset.notes
    assert note.startswith("20 of 20 held-out images look like a training image")
    left = dataset.without([DataFault(file="val/a/3.jpg", reason="damaged")])
    assert left.lookalikes == {item.digest for item in left.examples if item.split == "val"}
    assert len(left.lookalikes) == 19


def test_a_look_alike_of_another_class_counts_in_a_declared_split_only(tmp_path: Path):
    write_photos(tmp_path / "train")
    write_photos(tmp_path / "val", start=1)
    Image.open(tmp_path / "train" / "a" / "0.png").save(tmp_path / "val" / "b" / "again.jpg", quality=80)
    declared = scan(tmp_path, val_fraction=0.2)
    again = {item.digest for item in declared.examples if item.path.name == "again.jpg"}
    assert declared.lookalikes == again
    assert scan(tmp_path, val_fraction=0.2, near_copies="off").lookalikes == frozenset()
    known = {item.digest: item.split or "train" for item in declared.examples}
    for photo in (tmp_path / "val").rglob("*.*"):
        photo.rename(tmp_path / "train" / photo.parent.name / f"val-{photo.name}")
    kept = scan(tmp_path / "train", val_fraction=0.2, known=known)
    assert {item.digest for item in kept.examples if item.split == "val"} >= again
    assert kept.lookalikes == frozenset()


def test_photos_of_a_phone_are_reported_with_what_converts_them(tmp_path: Path):
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


def test_a_folder_of_one_class_is_reported_as_what_it_is(tmp_path: Path):
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(b"x")
    with pytest.raises(DatasetError, match="3 images lie directly in") as caught:
        scan(tmp_path, val_fraction=0.2)
    assert str(caught.value.hint).startswith(f"name the folder above, {tmp_path.parent}, if")
