"""Which sizes and scales are compared."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from eaves.config import SettingsLayer, build
from trainer.selection.candidates import list_candidates, list_scales
from trainer.settings import TrainSettings


def settings(**values: object) -> TrainSettings:
    return build(TrainSettings, SettingsLayer(origin="test", values=values))


def listed(folder: Path, side: int = 640, **values: object) -> list[int]:
    Image.new("RGB", (side * 2, side)).save(folder / "a.png")
    return [one.settings.image_size for one in list_candidates(settings(**values), [folder / "a.png"] * 60)]


@pytest.mark.parametrize(("side", "sizes"), [(640, [224, 320, 448]), (240, [224, 320]), (32, [224])])
def test_an_input_is_not_much_larger_than_the_pictures(tmp_path: Path, side: int, sizes: list[int]) -> None:
    assert listed(tmp_path, side) == sizes


def test_a_named_size_and_that_of_a_network_with_one_are_the_only_ones(tmp_path: Path) -> None:
    assert listed(tmp_path, image_size=160) == [160]
    assert listed(tmp_path, arch="inception_v3") == [299]
    gone = list_candidates(settings(), [tmp_path / "gone.png"])
    assert [one.size for one in gone] == [224]


def test_a_network_that_is_trained_further_is_not_compared(tmp_path: Path) -> None:
    assert listed(tmp_path, mode="full") == [0]


def test_only_a_file_of_weights_may_expect_another_scale() -> None:
    def scales(**values: object) -> list[str]:
        return [one.scale.name for one in list_scales(list_candidates(settings(**values), [])[0])]

    assert scales(arch="inception_v3") == ["symmetric"]
    assert scales(arch="inception_v3", weights="/w/mine.weights.h5") == ["symmetric", "unit", "torch", "raw"]
    assert scales(arch="inception_v3", weights="/w/mine.weights.h5", scale="unit") == ["unit"]
    assert scales(arch="efficientnet_lite0", weights="/w/mine.weights.h5") == ["lite"]
