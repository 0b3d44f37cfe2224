"""The sides that int8 is fitted to and judged on are those that the run tells, whatever has become of its images."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from PIL import Image

from converters.evaluation.images import load_labelled_images, with_groups
from converters.model_source import ModelSource
from tests.unit.converters.int8.test_labelled_split import build_source, load
from tests.unit.converters.int8.test_unlabelled import draw
from trainer.data.dataset import Dataset, scan
from trainer.data.listing import Split
from trainer.data.split.stored_split import SPLIT_FILE, parse_split, render_lines


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 photos of each of two classes."""
    folder = tmp_path_factory.mktemp("drawn")
    for index, label in enumerate(("a", "b")):
        (folder / label).mkdir()
        for number in range(40):
            draw(100 * index + number).save(folder / label / f"{number:03d}.png")
    return folder


@pytest.fixture
def photos(drawn: Path, tmp_path: Path) -> Path:
    """A copy of them, which a test may change."""
    return Path(shutil.copytree(drawn, tmp_path / "photos"))


def write_run(tmp_path: Path, dataset: Dataset) -> ModelSource:
    """A run as a training leaves it, as far as conversion reads it here."""
    source = build_source(tmp_path, dataset.root, labels=("a", "b"))
    (tmp_path / "run" / SPLIT_FILE).write_text(render_lines(dataset.split_entries()))
    return source


def of(dataset: Dataset, side: Split) -> set[Path]:
    return {item.path for item in dataset.examples if item.split == side}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_sides_are_those_of_the_run_and_not_of_what_is_there_now(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each trained image gets a copy, as label tools make: none of them is judged on."""
    dataset = scan(photos, val_fraction=0.2)
    source = write_run(tmp_path, dataset)
    for path in of(dataset, "train"):
        Image.open(path).convert("RGB").save(path.with_name(path.stem + "_again.jpg"), quality=92)
    found = load(source, tmp_path)
    assert {sample.path for sample in found.judged} == of(dataset, "val")
    assert set(found.calibration) == of(dataset, "train")
    assert "no longer exist" not in caplog.text


def test_images_in_whose_group_another_was_trained_on_are_not_judged_on(photos: Path, tmp_path: Path) -> None:
    """The class a is one group, so that it is on both sides; it was judged on by the gate and int8."""
    for path in sorted((photos / "a").iterdir()):
        path.rename(path.with_name(f"part_{path.name}"))
    dataset = scan(photos, val_fraction=0.2, group_by="name:(part)_")
    held = {path for path in of(dataset, "val") if path.parent.name == "a"}
    assert len(held) == len(dataset.lookalikes) == 8
    source = write_run(tmp_path, dataset)
    assert {sample.path for sample in load(source, tmp_path).judged} == of(dataset, "val") - held
    split = parse_split((tmp_path / "run" / SPLIT_FILE).read_text(), "the split")
    found = with_groups(load_labelled_images(photos, {item for item in split if split[item].split == "train"}), [split])
    assert {image.path for image in found.images} == of(dataset, "val") - held
    assert found.notes == ("8 images are left out: they are in the group of an image that the model was trained on",)


def test_images_of_which_the_run_knows_none_are_another_set(photos: Path, tmp_path: Path) -> None:
    dataset = scan(photos, val_fraction=0.2)
    source = write_run(tmp_path, dataset)
    for index, label in enumerate(("a", "b")):
        (tmp_path / "more" / label).mkdir(parents=True)
        for number in range(20):
            draw(1000 + 100 * index + number).save(tmp_path / "more" / label / f"{number}.png")
    found = load(source, tmp_path, str(tmp_path / "more"))
    assert len(found.judged) + len(found.calibration) == 40
    assert found.judged
    assert not {sample.path for sample in found.judged} & set(found.calibration)
    assert {sha256(path) for path in of(dataset, "train")} < found.trained
