"""Which images an int8 graph is fitted to, picked on and judged on: what judges it is nothing that it was picked on.

The sides of labelled images are those that the run tells, whatever has become of them; photos without labels count
once.
"""

import hashlib
import io
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from converters.declaration import Interface
from converters.evaluation.images import load_labelled_images, with_groups
from converters.int8.images import (
    Int8Images,
    find_images,
    find_unlabelled,
    load_labelled,
)
from converters.int8.precision_choice import classify
from converters.model_source import ModelSource
from converters.settings import ConvertSettings
from eaves.artifact import DecisionRule
from eaves.dataset_folder import Split
from eaves.errors import ConversionError
from eaves.inference.session import Session
from tests.fakes.models.artifact import COLOURS, RECIPE, ColourSession, encode_png
from tests.inputs.settings import settings_from
from trainer.data.dataset import Dataset, scan
from trainer.data.splitting import SPLIT_FILE, load_split, render_lines
from trainer.progress import SilentProgress

LABELS = tuple(COLOURS)


def write_data(root: Path, labels: tuple[str, ...] = LABELS, count: int = 10) -> Path:
    """Images of different sizes in a folder per label."""
    for label in labels:
        (root / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            colour = COLOURS.get(label, (1, 2, 3))
            (root / label / f"{number}.png").write_bytes(encode_png(colour, size=(20 + 3 * number, 20)))
    return root


def build_source(tmp_path: Path, data: Path | None, **changes: Any) -> ModelSource:
    """A run's source: its data and how these were split."""
    (tmp_path / "run").mkdir(exist_ok=True)
    if data is not None and (data / LABELS[0]).is_dir():
        entries = scan(data, val_fraction=0.3, seed=1, near_copies="off").split_entries()
        (tmp_path / "run" / SPLIT_FILE).write_text(render_lines(entries))
    source = ModelSource(
        route="run",
        model=tmp_path / "run/model",
        name="colours",
        version="1",
        labels=LABELS,
        recipe=RECIPE,
        interface=Interface(),
        digest="0" * 64,
        data_path=None if data is None else str(data),
    )
    return replace(source, **changes)


def load(source: ModelSource, tmp_path: Path, data: str = "", images: int = 100) -> Int8Images:
    return load_labelled(source, data, images=images, cache=tmp_path / "cache", progress=SilentProgress())


def test_an_image_that_cannot_be_decoded_is_left_out(tmp_path: Path):
    data = write_data(tmp_path / "data", count=4)
    for number in range(4):
        file = data / "red" / f"{number}.png"
        file.write_bytes(file.read_bytes()[:60])
    found = load(build_source(tmp_path, data), tmp_path)
    assert {image.label for image in found.judged} == set(LABELS) - {"red"}
    assert {path.parent.name for path in found.calibration} == set(LABELS) - {"red"}


def test_the_decision_rule_chooses_the_label(tmp_path: Path):
    paths = [write_data(tmp_path / "data", count=1) / label / "0.png" for label in LABELS]
    for weights, is_first in (((), True), ((1e-30, 1.0, 1.0), False)):
        source = build_source(tmp_path, None, decision=DecisionRule(label_weights=weights))
        predicted = classify(cast(Session, ColourSession()), source, paths, SilentProgress(), "Judging colours")[0]
        assert (predicted[0] == 0) == is_first


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


def test_one_picture_in_many_files_is_one_photo(tmp_path: Path, caplog: pytest.LogCaptureFixture):
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


def test_no_folder_is_no_photo_and_a_wrong_one_an_error(tmp_path: Path):
    assert find("") == ()
    with pytest.raises(ConversionError, match=r"photos without labels can't be read: .* is not a folder") as caught:
        find(tmp_path / "gone")
    assert caught.value.hint == "set convert.unlabelled to a folder of photos"


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
):
    """Each trained image gets a copy, as label tools make: none of them is judged on."""
    dataset = scan(photos, val_fraction=0.2)
    source = write_run(tmp_path, dataset)
    for path in of(dataset, "train"):
        Image.open(path).convert("RGB").save(path.with_name(path.stem + "_again.jpg"), quality=92)
    found = load(source, tmp_path)
    assert {sample.path for sample in found.judged} == of(dataset, "val")
    assert set(found.calibration) == of(dataset, "train")
    assert "no longer exist" not in caplog.text


def test_images_in_whose_group_another_was_trained_on_are_not_judged_on(photos: Path, tmp_path: Path):
    """The class a is one group, so that it is on both sides; it was judged on by the gate and int8."""
    for path in sorted((photos / "a").iterdir()):
        path.rename(path.with_name(f"part_{path.name}"))
    dataset = scan(photos, val_fraction=0.2, group_by="name:(part)_")
    held = {path for path in of(dataset, "val") if path.parent.name == "a"}
    assert len(held) == len(dataset.lookalikes) == 8
    source = write_run(tmp_path, dataset)
    assert {sample.path for sample in load(source, tmp_path).judged} == of(dataset, "val") - held
    split = load_split(tmp_path / "run")
    found = with_groups(load_labelled_images(photos, {item for item in split if split[item].split == "train"}), [split])
    assert {image.path for image in found.images} == of(dataset, "val") - held
    assert found.notes == ("8 images are left out: they are in the group of an image that the model was trained on",)


def write_photos(folder: Path, count: int) -> Path:
    """Photos without labels, all different."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}.png").write_bytes(encode(draw(number)))
    return folder


def find_all(tmp_path: Path, count: int = 10, **values: Any) -> Int8Images:
    """The images of a model whose data hold `count` of each of three labels, most of them on the training side."""
    data = write_data(tmp_path / "data", count=count) if count else tmp_path / "gone"
    settings = settings_from(ConvertSettings, {"precision": "int8", **values})
    return find_images(build_source(tmp_path, data), settings, tmp_path / "cache", SilentProgress())


@pytest.mark.parametrize("calibration_images", [5, 100])
def test_what_judges_is_neither_fitted_to_nor_picked_on(tmp_path: Path, calibration_images: int):
    photos = write_photos(tmp_path / "photos", 20)
    found = find_all(tmp_path, count=40, calibration_images=calibration_images, unlabelled=str(photos))
    judged = {sample.path for sample in found.judged} | set(found.unlabelled)
    assert len(judged) > 20
    assert not judged & (set(found.calibration) | set(found.picking))
    assert len(found.calibration) <= calibration_images


def test_a_copy_of_a_labelled_image_under_other_bytes_is_no_photo_without_one(tmp_path: Path):
    for number, label in enumerate(LABELS):
        for seed in range(10):
            write(tmp_path / "data" / label / f"{seed}.png", 100 * number + seed)
    for seed in (0, 100, 200, 500, 501):
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / f"{seed}.jpg").write_bytes(encode(draw(seed), "JPEG", quality=80))
    asked = settings_from(ConvertSettings, {"precision": "int8", "unlabelled": f"{tmp_path}/photos"})
    found = find_images(build_source(tmp_path, tmp_path / "data"), asked, tmp_path / "cache", SilentProgress())
    assert {path.name for path in found.unlabelled} == {"500.jpg", "501.jpg"}
