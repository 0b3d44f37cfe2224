"""From a folder of photos that people label to the review that the page Labels shows, by the real network."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from eaves.cli import cli
from eaves.labels import NOT_USABLE, LabelBook
from tests.inputs.fixture import write_fixture
from trainer import labelling
from trainer.data.listing import LabelledImage
from trainer.labelling import LabelReview, find_piles, read_photos, review_labels
from trainer.progress import SILENT, TrainingProgress
from trainer.storage import open_store

HUES = ("red", "green", "blue")


def save(path: Path, seed: int, hue: int) -> Path:
    """Save a picture like no other, of which channel `hue` is the brightest."""
    coarse = np.random.default_rng(seed).integers(0, 110, (6, 8, 3))
    coarse[..., hue] += 140
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coarse.astype(np.uint8)).resize((80, 60), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """30 photos that folders label, 12 that nobody has labelled, and a broken one."""
    for hue, label in enumerate(HUES):
        for number in range(10):
            save(tmp_path / "photos" / label / f"{number}.png", 100 * hue + number, hue)
        for number in range(4):
            save(tmp_path / "photos" / f"{label}-{number}.png", 1000 + 100 * hue + number, hue)
    (tmp_path / "photos" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no image")
    return tmp_path / "photos"


def test_a_label_that_is_given_while_photos_are_read_is_later_than_the_review(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    def read(folder: Path, progress: TrainingProgress) -> tuple[list[LabelledImage], list[str]]:
        found = read_photos(folder, progress)
        LabelBook(folder).put({"red-0.png": "red"}, who="ann")
        return [image for image in found[0] if image.label == "red"], found[1]  # of one class nothing is judged

    monkeypatch.setattr(labelling, "read_photos", read)
    review = review_labels(folder, features=open_store(folder / ".cache"), progress=SILENT)
    assert review.created < LabelBook(folder).labels()["red-0.png"].when


@pytest.mark.long("TensorFlow is imported, and a pretrained network is built and run")
def test_a_review_has_all_that_the_page_shows(folder: Path):
    Image.open(folder / "red-0.png").save(folder / "again.jpg", quality=90)
    book = LabelBook(folder)
    book.put({"red-0.png": "red", "again.jpg": "red"}, who="ann")
    wrong = {"green-0.png", "green-0-a.png", "green-0-b.png"}
    for name in wrong - {"green-0.png"}:
        Image.open(folder / "green-0.png").resize((100, 75)).save(folder / name)
    book.put(dict.fromkeys(wrong, "blue"), who="ann")
    book.put({"blue-0.png": NOT_USABLE}, who="ann")
    audited = [book.add_photo(name, (folder / name).read_bytes(), audit=True) for name in ("red-1.png", "red-3.png")]
    book.put({audited[0]: "blue"}, who="ann")  # nothing is learned from it, and it is in no pile
    file = folder.parent / "review.json"
    done = CliRunner().invoke(cli, ["data", "check", str(folder), "--review", str(file)], catch_exceptions=False)
    found: dict[str, Any] = json.loads(file.read_text())
    assert (done.exit_code, found["labelled"]) == (0, 35)
    assert sorted(found["piles"]) == [["again.jpg", "red-0.png"], sorted(wrong)]
    suggested = {name: one["label"] for name, one in found["suggestions"].items()}
    assert len(suggested) == 46, "every photo but the broken one and the one that is not usable"
    assert all(suggested[f"{label}-3.png"] == label for label in HUES)
    assert all(suggested[name] == "red" for name in audited)
    assert not any(name in audited for pile in found["piles"] for name in pile)
    assert all(0 <= one["margin"] < 2 for one in found["suggestions"].values())
    for kind in ("disagreements", "harmful"):
        assert {one["file"] for one in found[kind]} == wrong, "no photo is judged by others of its pile"
        assert {(one["label"], one["looks_like"]) for one in found[kind]} == {("blue", "green")}
    assert [point["labels"] for point in found["curve"]] == [25, 35]
    assert found["expected"] is None
    accuracy = found["curve"][-1]["accuracy"]
    assert 0.8 < accuracy <= 32 / 35
    assert found["text"].startswith(f"{accuracy:.0%} of 35 labels are predicted by a model that has not seen them (")
    assert any("1 file is not used" in note and "broken.png" in note for note in found["notes"])
    assert found["text"] in " ".join(done.stdout.split())


@pytest.mark.long("TensorFlow is imported, and a pretrained network is built and run")
def test_few_labels_give_suggestions_and_what_is_missing(folder: Path):
    book = LabelBook(folder)
    for label in HUES:
        shutil.rmtree(folder / label)

    def review(group_by: str = "") -> LabelReview:
        features = open_store(folder.parent / "features")
        return review_labels(folder, group_by=group_by, features=features, progress=SILENT)

    book.put({"red-0.png": "red"}, who="ann")
    assert (review().text, review().suggestions) == (
        "label photos of two classes or more; only red has some",
        {},
    )
    for number in range(4):
        book.put({f"green-{number}.png": "green"}, who="ann")
    found = review()
    assert found.text == "each class needs 4 photos that do not look alike; label more photos: 3 of red"
    assert (found.curve, found.expected, found.disagreements) == ((), None, None)
    assert {found.suggestions[f"{label}-3.png"]["label"] for label in ("red", "green")} == {"red", "green"}
    assert review("name:([a-z]+)-").text.endswith("label more photos: 3 of green, 3 of red"), "one group each"


def test_photos_come_in_the_order_in_which_they_were_labelled(folder: Path):
    book = LabelBook(folder)
    book.put({"red-1.png": "red"}, who="ann")
    book.put({"blue-1.png": "blue", "blue-2.png": "blue"}, who="bob")
    book.put({"red/3.png": "green"}, who="ann")
    images, _ = read_photos(folder, SILENT)
    names = [image.name for image in images]
    digests = [image.digest for image in images[:29]]
    assert digests == sorted(digests)
    assert (names[29], set(names[30:32]), names[32]) == ("red-1.png", {"blue-1.png", "blue-2.png"}, "red/3.png")
    assert images[30].group == images[31].group != ""
    assert not any(image.label for image in images[33:])
    assert len(images) == 42


def test_a_burst_is_a_pile_until_people_separate_two_classes_in_it(folder: Path):
    book, shot = LabelBook(folder), np.asarray(Image.open(folder / "red-0.png"))
    for number in range(14):  # something small moves
        moved = shot.astype(int)
        moved[20:25, 5 * number : 5 * number + 5] += (-60, 60, 60)
        Image.fromarray(np.clip(moved, 0, 255).astype(np.uint8)).save(folder / f"burst-{number:02d}.png")
    burst = {f"burst-{number:02d}.png" for number in range(14)} | {"red-0.png"}

    def piles() -> list[set[str]]:
        images, _ = read_photos(folder, SILENT)
        return [{images[row].name for row in pile} for pile in find_piles(images, SILENT)[1]]

    assert piles() == [burst]
    for number in range(8):
        book.put({f"burst-{number:02d}.png": "scene"}, who="ann")
    assert piles() == [burst], "all photos of its class are one burst"
    for number in range(8, 14):
        book.put({f"burst-{number:02d}.png": "other"}, who="ann")
    assert piles() == []


@pytest.mark.long("many pictures are drawn and compared")
def test_under_a_fixed_camera_one_key_labels_one_photo(tmp_path: Path):
    """Good and scratched parts at one place look alike, so that a pile of both would get one label."""
    write_fixture(tmp_path, good=12, scratch=12)
    for file in sorted(tmp_path.rglob("*.jpg")):
        file.rename(tmp_path / f"{file.parent.name}-{file.name}")
    images, _ = read_photos(tmp_path, SILENT)
    together, shown, note = find_piles(images, SILENT)
    assert note.startswith("fixed camera: ")
    assert len(together) > 1, "they don't prove each other's labels"
    assert shown == []
