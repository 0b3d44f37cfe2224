"""Copies of training images among labelled images: other bytes, and yet nothing that the model hasn't seen."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from converters.evaluation.images import LabelledImages, describe_left_out, load_unseen_images
from tests.fakes.models.evaluated import ColourModel
from tests.unit.converters.int8.test_images import write
from trainer.data.splitting import SPLIT_FILE, SplitEntry, render_lines
from trainer.progress import SilentProgress


def save_again(source: Path, target: Path, quality: int = 88) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.open(source).convert("RGB").save(target.with_suffix(".jpg"), quality=quality)


def write_run(folder: Path, data: Path, *, held_out: str = "9", group: str = "") -> Path:
    """Write what an evaluation reads of a run: its images' path and their sides; held out are names with that end."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"data": {"path": str(data)}}))
    entries = [
        SplitEntry(
            digest=hashlib.sha256(file.read_bytes()).hexdigest(),
            label=file.parent.name,
            split="val" if file.stem.endswith(held_out) else "train",
            group=group if file.stem.endswith(held_out) else "",
        )
        for file in sorted(data.glob("*/*"))
    ]
    (folder / SPLIT_FILE).write_text(render_lines(entries))
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for seed in range(40):
        write(tmp_path / "photos" / ("red" if seed % 2 else "blue") / f"{seed:02d}.png", seed)
    return tmp_path / "photos"


def unseen(path: Path, run: Path, cache: Path) -> LabelledImages:
    model = ColourModel()
    model.kind, model.run = "run", run
    lines = [json.loads(line) for line in (run / SPLIT_FILE).read_text().splitlines()]
    model.trained_on = frozenset(line["digest"] for line in lines if line["split"] == "train")
    return load_unseen_images(path, [model], None, cache=cache, progress=SilentProgress())


def test_training_photos_that_were_saved_again_are_left_out_and_counted_apart(photos: Path, tmp_path: Path):
    run, again = write_run(tmp_path / "run", photos), tmp_path / "again"
    for file in photos.glob("*/*"):
        save_again(file, again / file.parent.name / file.name)
    write(again / "red" / "new.png", 99)
    found = unseen(again, run, tmp_path)
    assert sorted(image.name for image in found.images) == [
        "red/09.jpg", "red/19.jpg", "red/29.jpg", "red/39.jpg", "red/new.png"
    ]  # fmt: skip
    assert (found.trained_on, found.copies) == (0, 36)
    assert describe_left_out(found) == [
        "36 images are left out: they are copies of images that the model was trained on"
    ]


def test_training_images_that_are_gone_are_named_in_a_note(photos: Path, tmp_path: Path):
    run, again = write_run(tmp_path / "run", photos), tmp_path / "again"
    for file in photos.glob("red/*"):
        save_again(file, again / "red" / file.name)
    for file in sorted(photos.glob("red/*1.png")):
        file.unlink()
    found = unseen(again, run, tmp_path)
    assert (len(found.images), found.copies) == (8, 12)
    assert found.notes == (
        (
            "copies of 4 of the 36 images that the model was trained on can't be recognised, because these images "
            "can't be found any more"
        ),
    )
    shutil.rmtree(photos)
    found = unseen(again, run, tmp_path)
    assert (len(found.images), found.copies) == (20, 0)
    (note,) = found.notes
    assert note.startswith("copies of 36 of the 36 images")
    assert f"(can't read the folder {photos}: " in note


def test_held_out_shots_of_a_part_that_was_trained_on_are_left_out(photos: Path, tmp_path: Path):
    run = write_run(tmp_path / "run", photos, group="part 7")
    trained = hashlib.sha256((photos / "red/01.png").read_bytes()).hexdigest()
    lines = [json.loads(line) for line in (run / SPLIT_FILE).read_text().splitlines()]
    entries = [SplitEntry(**line | ({"group": "part 7"} if line["digest"] == trained else {})) for line in lines]
    (run / SPLIT_FILE).write_text(render_lines(entries))
    write(photos / "red" / "new.png", 99)
    found = unseen(photos, run, tmp_path)
    assert [image.name for image in found.images] == ["red/new.png"]
    assert found.notes == ("4 images are left out: they are in the group of an image that the model was trained on",)
