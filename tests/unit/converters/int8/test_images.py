"""Which images an int8 graph is fitted to, picked on and judged on: what judges it is nothing that it was picked on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from converters.int8.images import Int8Images, find_images
from converters.settings import ConvertSettings
from eaves.config import SettingsLayer, build
from tests.unit.converters.int8.test_labelled_split import LABELS, build_source, write_data
from tests.unit.converters.int8.test_unlabelled import draw, encode, write
from trainer.progress import SilentProgress


def write_photos(folder: Path, count: int) -> Path:
    """Photos without labels, all different."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}.png").write_bytes(encode(draw(number)))
    return folder


def find(tmp_path: Path, count: int = 10, **values: Any) -> Int8Images:
    """The images of a model whose data hold `count` of each of three labels, most of them on the training side."""
    data = write_data(tmp_path / "data", count=count) if count else tmp_path / "gone"
    settings = build(ConvertSettings, SettingsLayer(origin="test", values={"precision": "int8", **values}))
    return find_images(build_source(tmp_path, data), settings, tmp_path / "cache", SilentProgress())


@pytest.mark.parametrize("calibration_images", [5, 100])
def test_what_judges_is_neither_fitted_to_nor_picked_on(tmp_path: Path, calibration_images: int) -> None:
    photos = write_photos(tmp_path / "photos", 20)
    found = find(tmp_path, count=40, calibration_images=calibration_images, unlabelled=str(photos))
    judged = {sample.path for sample in found.judged} | set(found.unlabelled)
    assert len(judged) > 20
    assert not judged & (set(found.calibration) | set(found.picking))
    assert len(found.calibration) <= calibration_images


def test_a_copy_of_a_labelled_image_under_other_bytes_is_no_photo_without_one(tmp_path: Path) -> None:
    for number, label in enumerate(LABELS):
        for seed in range(10):
            write(tmp_path / "data" / label / f"{seed}.png", 100 * number + seed)
    for seed in (0, 100, 200, 500, 501):
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / f"{seed}.jpg").write_bytes(encode(draw(seed), "JPEG", quality=80))
    asked = build(
        ConvertSettings, SettingsLayer(origin="test", values={"precision": "int8", "unlabelled": f"{tmp_path}/photos"})
    )
    found = find_images(build_source(tmp_path, tmp_path / "data"), asked, tmp_path / "cache", SilentProgress())
    assert {path.name for path in found.unlabelled} == {"500.jpg", "501.jpg"}
