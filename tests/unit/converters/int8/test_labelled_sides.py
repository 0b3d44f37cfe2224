"""The sides that int8 is fitted to and judged on are those that the run tells, whatever has become of its images."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from converters.evaluation.labelled_images import load_labelled_images, load_unseen_images, with_groups
from converters.int8.images import Int8Images, find_images
from converters.int8.labelled_split import LabelledSplit, load_labelled
from converters.settings import ConvertSettings
from converters.source.model_interface import Interface
from converters.source.model_source import ModelSource
from eaves.config import SettingsLayer, build
from eaves.errors import ConversionError
from tests.fakes.models.evaluated import ColourModel
from trainer.data.dataset import Dataset, scan
from trainer.data.listing import DataFault, Split
from trainer.data.split import near_duplicates
from trainer.data.split.legacy_split import side_before, sides_before
from trainer.data.split.stored_split import SPLIT_FILE, parse_split, render_split
from trainer.progress import SilentProgress
from trainer.settings import TrainSettings


def picture(seed: int) -> Image.Image:
    patches = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize((96, 96), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 photos of each of two classes."""
    folder = tmp_path_factory.mktemp("drawn")
    for index, label in enumerate(("a", "b")):
        (folder / label).mkdir()
        for number in range(40):
            picture(100 * index + number).save(folder / label / f"{number:03d}.png")
    return folder


@pytest.fixture
def photos(drawn: Path, tmp_path: Path) -> Path:
    """A copy of them, which a test may change."""
    return Path(shutil.copytree(drawn, tmp_path / "photos"))


def write_run(tmp_path: Path, dataset: Dataset) -> ModelSource:
    """A run as a training leaves it, as far as conversion reads it here."""
    run = tmp_path / "run"
    run.mkdir()
    (run / SPLIT_FILE).write_text(render_split(dataset.split_entries()))
    (run / "config.json").write_text(json.dumps({"train": {"val_fraction": 0.2, "seed": 0}}))
    return source_of(run, dataset.root)


def source_of(run: Path, data: Path) -> ModelSource:
    return ModelSource(
        route="run",
        model=run / "model",
        name="x",
        version="1",
        labels=("a", "b"),
        recipe=TrainSettings(arch="small_cnn").recipe(),
        interface=Interface(),
        digest="0" * 64,
        data_path=str(data),
    )


def load(source: ModelSource, tmp_path: Path, data: str = "") -> LabelledSplit:
    return load_labelled(source, data, images=1000, cache=tmp_path / "cache", progress=SilentProgress())


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


def test_other_sides_in_the_file_are_other_images_judged_on(photos: Path, tmp_path: Path) -> None:
    dataset = scan(photos, val_fraction=0.2, seed=5)
    source = write_run(tmp_path, dataset)
    assert {sample.path for sample in load(source, tmp_path).judged} == of(dataset, "val")
    assert of(dataset, "val") != of(scan(photos, val_fraction=0.2, seed=0), "val")


def test_an_image_that_was_trained_on_is_not_judged_on_under_another_name(photos: Path, tmp_path: Path) -> None:
    dataset = scan(photos, val_fraction=0.2)
    source = write_run(tmp_path, dataset)
    other = tmp_path / "other"
    for label in ("a", "b"):
        (other / label).mkdir(parents=True)
        for number, item in enumerate(item for item in dataset.examples if item.label == "ab".index(label)):
            (other / label / f"x{number}.png").write_bytes(item.path.read_bytes())
    judged = {sample.sha256 for sample in load(source, tmp_path, str(other)).judged}
    assert judged == {sha256(path) for path in of(dataset, "val")}


def test_held_out_images_that_are_gone_are_counted(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = scan(photos, val_fraction=0.2)
    source = write_run(tmp_path, dataset)
    gone = sorted(of(dataset, "val"))[:3]
    for path in gone:
        path.unlink()
    with caplog.at_level(logging.WARNING):
        found = load(source, tmp_path)
    assert {sample.path for sample in found.judged} == of(dataset, "val") - set(gone)
    assert "3 of the 16 images that the run held out no longer exist" in caplog.text


def find_for_int8(source: ModelSource, tmp_path: Path, unlabelled: Path) -> Int8Images:
    values = {"precision": "int8", "unlabelled": str(unlabelled), "calibration_images": 10}
    return find_images(
        source,
        build(ConvertSettings, SettingsLayer(origin="test", values=values)),
        tmp_path / "cache",
        SilentProgress(),
    )


def test_photos_that_were_trained_on_judge_nothing_when_the_images_of_the_run_are_gone(
    photos: Path, tmp_path: Path
) -> None:
    dataset = scan(photos, val_fraction=0.5, seed=0)
    source = write_run(tmp_path, dataset)
    trained = {sha256(path) for path in of(dataset, "train")}
    photos.rename(tmp_path / "moved")
    found = find_for_int8(source, tmp_path, tmp_path / "moved")
    used = {sha256(path) for path in (*found.calibration, *found.picking, *found.unlabelled)}
    assert used == {sha256(tmp_path / "moved" / path.relative_to(photos)) for path in of(dataset, "val")}
    assert not used & trained


def test_photos_are_refused_where_the_run_does_not_tell_what_it_was_trained_on(photos: Path, tmp_path: Path) -> None:
    source, _ = before(tmp_path / "run", photos)
    (photos / "a/000.png").unlink()
    message = r"the images have changed since the training, and the photos without labels can't be used"
    with pytest.raises(ConversionError, match=message) as caught:
        find_for_int8(source, tmp_path, photos)
    assert caught.value.hint == "train the model again"


def test_images_of_which_the_run_knows_none_are_another_set(photos: Path, tmp_path: Path) -> None:
    dataset = scan(photos, val_fraction=0.2)
    source = write_run(tmp_path, dataset)
    for index, label in enumerate(("a", "b")):
        (tmp_path / "more" / label).mkdir(parents=True)
        for number in range(20):
            picture(1000 + 100 * index + number).save(tmp_path / "more" / label / f"{number}.png")
    found = load(source, tmp_path, str(tmp_path / "more"))
    assert len(found.judged) + len(found.calibration) == 40
    assert found.judged
    assert not {sample.path for sample in found.judged} & set(found.calibration)
    assert {sha256(path) for path in of(dataset, "train")} < found.trained


@pytest.mark.parametrize("text", ["{", '{"digest": "a", "label": "b", "split": "test"}'])
def test_a_damaged_file_is_refused(photos: Path, tmp_path: Path, text: str) -> None:
    source = write_run(tmp_path, scan(photos, val_fraction=0.2))
    (tmp_path / "run" / SPLIT_FILE).write_text(text)
    with pytest.raises(ConversionError, match="can't be read") as caught:
        load(source, tmp_path)
    assert caught.value.hint == "train the model again"


def before(run: Path, data: Path, faults: Sequence[DataFault] = ()) -> tuple[ModelSource, dict[Path, Split]]:
    """A run of a version that kept no `split.jsonl`, and its sides as that version computed them."""
    files = sorted(data.rglob("*.*"))
    seen = [path for path in files if path.relative_to(data).as_posix() not in {fault.file for fault in faults}]
    sides = dict(
        zip(
            files,
            sides_before(
                [sha256(path) for path in files],
                [near_duplicates.compute_fingerprint(path.read_bytes()) for path in files],
                0.2,
                0,
            ),
            strict=True,
        )
    )
    lines = sorted(f"{sha256(path)} {sides[path]} {path.parent.name}\n" for path in seen)
    run.mkdir()
    (run / "config.json").write_text(json.dumps({"train": {"val_fraction": 0.2, "seed": 0}}))
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    about = {"dataset": {"sha256": digest}, "data_faults": [asdict(fault) for fault in faults]}
    (run / "run.json").write_text(json.dumps(about))
    return source_of(run, data), {path: sides[path] for path in seen}


def test_a_run_without_the_file_is_judged_as_it_was_split(photos: Path, tmp_path: Path) -> None:
    (photos / "a" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    source, sides = before(tmp_path / "run", photos, [DataFault(file="a/broken.png", reason="broken")])
    assert {sample.path for sample in load(source, tmp_path).judged} == {
        path for path, side in sides.items() if side == "val"
    }


def test_a_run_without_the_file_is_evaluated_as_it_was_split(photos: Path, tmp_path: Path) -> None:
    source, sides = before(tmp_path / "run", photos)
    model = ColourModel("old")
    model.kind, model.trained_on, model.run = "run", None, source.model.parent
    found = load_unseen_images(photos, [model], None, cache=tmp_path, progress=SilentProgress())
    assert {image.path for image in found.images} == {path for path, side in sides.items() if side == "val"}
    (note,) = found.notes
    assert note.startswith("the run old has no split.jsonl; its split was computed again, which is possible")
    assert str(photos) in note
    (photos / "a" / "001.png").unlink()
    found = load_unseen_images(photos, [model], None, cache=tmp_path, progress=SilentProgress())
    assert len(found.images) == 79
    assert "and its images have changed): all images are used" in found.notes[0]


@pytest.mark.parametrize("change", ["new", "gone", "relabelled"])
def test_a_run_without_the_file_whose_images_changed_is_refused(photos: Path, tmp_path: Path, change: str) -> None:
    source, _ = before(tmp_path / "run", photos)
    if change == "new":
        picture(5000).save(photos / "a" / "new.png")
    elif change == "gone":
        (photos / "a" / "000.png").unlink()
    else:
        (photos / "a" / "000.png").rename(photos / "b" / "x.png")
    with pytest.raises(ConversionError, match="the images have changed since the training") as caught:
        load(source, tmp_path)
    assert caught.value.hint == "train the model again"


@pytest.mark.parametrize("name", ["config.json", "run.json"])
@pytest.mark.parametrize("text", [None, "{", "{}", '{"train": {"val_fraction": "x", "seed": 1}}'])
def test_a_run_that_does_not_say_what_it_held_out_cannot_be_judged(
    photos: Path, tmp_path: Path, name: str, text: str | None
) -> None:
    source, _ = before(tmp_path / "run", photos)
    (tmp_path / "run" / name).unlink()
    if text is not None:
        (tmp_path / "run" / name).write_text(text)
    with pytest.raises(ConversionError, match="does not list its held-out images"):
        load(source, tmp_path)


def test_the_sides_of_before_are_those_that_were_published() -> None:
    """sha256("SEED:DIGEST") as a share of 2^64, and a group on the side of its smallest digest, transitively."""
    digests = [f"{number:064x}" for number in range(400)]
    for seed in (0, 7):
        for digest in digests:
            share = int(hashlib.sha256(f"{seed}:{digest}".encode()).hexdigest()[:16], 16) / 2**64
            assert side_before(digest, 0.2, seed) == ("val" if share < 0.2 else "train")
    thumbnails, grid = np.zeros((5, 256), np.float32), np.zeros((3, 1024), np.uint8)
    thumbnails[:, 0], thumbnails[:, 1] = np.cos(0.19 * np.arange(5)), np.sin(0.19 * np.arange(5))
    chain = [near_duplicates.ImageFingerprint(thumbnail=thumbnail, grid=grid) for thumbnail in thumbnails]
    looks: list[near_duplicates.ImageFingerprint | None] = [None, *chain[::-1], None]
    for start in range(0, 100, 7):
        names = digests[start : start + 7][::-1]
        alone = [side_before(name, 0.2, 0) for name in names]
        assert sides_before(names, looks, 0.2, 0) == [alone[0], *[alone[5]] * 5, alone[6]]
