"""A folder with labels.csv: what people have said of photos decides what is trained on."""

import shutil
from pathlib import Path

import pytest

from eaves.errors import DatasetError
from eaves.labels import LABELS, NOT_USABLE, LabelBook
from tests.unit.trainer.data.test_dataset import write_photos
from trainer.check import inspect_data
from trainer.data.dataset import find_local, scan
from trainer.data.listing import load_listing
from trainer.progress import SILENT
from trainer.settings import DataSettings
from trainer.storage import open_store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve photos in each of two classes, and three beside them."""
    folder = write_photos(tmp_path / "photos", "ab", count=12)
    for number, source in enumerate(write_photos(tmp_path / "more", "x", start=1, count=3).rglob("*.png")):
        shutil.copy(source, folder / f"{number}.png")
    return folder


def read_labels(place: Path) -> dict[str, str]:
    listing = load_listing(place)
    return {entry.path.relative_to(listing.root).as_posix(): entry.label for entry in listing.entries}


def test_labels_take_precedence_over_folders_and_what_is_left_out_is_counted(folder: Path, tmp_path: Path):
    book = LabelBook(folder)
    book.put({"0.png": "b", "a/0.png": "b", "a/1.png": NOT_USABLE, "a/2.png": ""}, who="Anna")
    book.name_class("c", who="Anna")
    listing = load_listing(folder)
    assert read_labels(folder) == {photo.file: photo.label for photo in book.photos() if photo.label in ("a", "b")}
    assert (read_labels(folder)["0.png"], read_labels(folder)["a/0.png"]) == ("b", "b")
    assert (listing.labels, listing.faults) == (("a", "b"), ())
    note = "photos that labels.csv leaves out: 3 without a label, 1 not usable"
    assert listing.notes == (note,)
    (folder / "b/0.png").unlink()
    book.put({"b/1.png": "a"}, who="Anna")
    (folder / "b/1.png").unlink()
    dataset = scan(folder, val_fraction=0.25)
    assert {name: dataset.counts("train")[name] + dataset.counts("val")[name] for name in "ab"} == {"a": 9, "b": 12}
    assert dataset.notes[0] == f"{note}, 1 not in the folder"
    book.put({"1.png": "c"}, who="Anna")  # too few to train on, so nothing loads TensorFlow
    found = inspect_data(folder, features=open_store(tmp_path / "features"), progress=SILENT)
    assert found.notes[0] == "photos that labels.csv leaves out: 2 without a label, 1 not usable, 1 not in the folder"
    assert (found.classes, found.not_used) == ({"a": 9, "b": 12, "c": 1}, [])


def test_a_pile_stays_on_one_side_of_the_split_with_what_looks_like_it(folder: Path):
    book = LabelBook(folder)
    pile = {f"a/{number}.png": "a" for number in range(5)}
    book.put(pile, who="Anna")
    for target in ("a/copy.png", "copy of a pile.png"):
        shutil.copy(folder / "a/0.png", folder / target)
        with (folder / target).open("ab") as stream:
            stream.write(target.encode())  # the same picture in other bytes
    book.put({"copy of a pile.png": "a"}, who="Anna")
    together = {*pile, "a/copy.png", "copy of a pile.png"}
    for near_copies, size in (("similar", 7), ("off", 5)):
        for seed in range(4):
            dataset = scan(folder, val_fraction=0.25, seed=seed, near_copies=near_copies)
            mates = {one.name: (one.split, one.group) for one in dataset.examples if one.name in together and one.group}
            assert len(mates) == size
            assert len(set(mates.values())) == 1


def test_a_declared_split_and_an_archive_are_labelled_too(tmp_path: Path):
    for side in ("train", "val"):
        write_photos(tmp_path / "data" / side, "ab", start=len(side), count=4)
    for name in ("new.png", "val/new.png"):
        shutil.copy(tmp_path / "data/train/a/0.png", tmp_path / "data" / name)
    (tmp_path / "data/audit").mkdir()
    (tmp_path / "data/val/b/0.png").rename(tmp_path / "data/audit/b.png")
    said = {"audit/b.png": "b", "val/new.png": "a", "new.png": "b", "train/b/0.png": "a"}
    LabelBook(tmp_path / "data").put(said, who="Anna")
    archive = shutil.make_archive(str(tmp_path / "data"), "zip", tmp_path / "data")
    unpacked, _ = find_local(DataSettings(path=archive), cache=tmp_path / "cache", progress=SILENT)
    for place in (tmp_path / "data", unpacked):
        found = {entry.path.relative_to(place).as_posix(): entry for entry in load_listing(place).entries}
        assert (found["val/new.png"].label, found["val/new.png"].split) == ("a", "val")
        assert (found["new.png"].label, found["new.png"].split) == ("b", "train")
        assert (found["train/b/0.png"].label, found["train/b/0.png"].split) == ("a", "train")
        assert len(found) == 17
        assert [entry.split for entry in found.values()] == ["val"] * 8 + ["train"] * 9


def test_photos_of_the_audit_sample_and_their_copies_are_on_no_side_of_the_split(folder: Path):
    book = LabelBook(folder)
    file = book.add_photo("front.png", (folder / "a/0.png").read_bytes(), audit=True)
    (folder / "0.png").rename(folder / "audit/other.png")
    listing = load_listing(folder)
    assert [photo.label for photo in listing.audit] == ["", ""]
    assert listing.notes == ("2 photos of the audit sample only judge",)
    book.put({file: "a", "audit/other.png": "c"}, who="Anna")
    assert {photo.label for photo in load_listing(folder).audit} == {"a", "c"}
    dataset = scan(folder, val_fraction=0.25)
    assert dataset.labels == ("a", "b")
    assert {one.name.split("/")[0] for one in dataset.examples} == {"a", "b"}
    copy = next(fault for fault in dataset.faults if fault.file == "a/0.png")
    assert copy.reason == f"it has the same bytes as {file}"


def test_a_folder_without_a_labelled_photo_says_what_to_do(tmp_path: Path):
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "phone.heic").write_bytes(b"x")
    (tmp_path / LABELS).touch()
    with pytest.raises(DatasetError, match=r"no photo in .* is labelled; .*: 3 without a label$") as caught:
        scan(tmp_path, val_fraction=0.25)
    assert "label the photos in the console" in (caught.value.hint or "")
    assert [fault.file for fault in load_listing(tmp_path).faults] == ["phone.heic"]
    (tmp_path / LABELS).write_text("file;label\n")
    with pytest.raises(DatasetError, match="semicolons"):
        scan(tmp_path, val_fraction=0.25)
