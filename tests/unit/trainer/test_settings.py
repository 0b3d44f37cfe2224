"""The sections `data` and `train`: rules across fields, what `auto` becomes, the command line without TensorFlow."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from eaves.config import SettingsLayer, build
from eaves.errors import ConfigError
from trainer.model.architectures import LITE, SYMMETRIC, UNIT, Scale
from trainer.settings import TrainSettings


def settings(**values: Any) -> TrainSettings:
    return build(TrainSettings, SettingsLayer(origin="test", values=values))


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"arch": "small_cnn", "mode": "frozen"}, "mode"),
        ({"arch": "small_cnn", "weights": "imagenet"}, "weights"),
        ({"arch": "inception_v3", "image_size": 64}, "image_size"),
        ({"arch": "resnet"}, "arch"),
        ({"val_fraction": 1}, "val_fraction"),
    ],
)
def test_a_rule_names_the_setting(values: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(**values)
    assert [fault.path for fault in caught.value.faults] == [path]


@pytest.mark.parametrize(
    ("values", "kind", "frozen", "scale"),
    [
        ({}, "imagenet", True, LITE),
        ({"arch": "inception_v3"}, "imagenet", True, SYMMETRIC),
        ({"weights": "notop.weights.h5"}, "file", True, LITE),
        ({"weights": "notop.weights.h5", "scale": "unit"}, "file", True, UNIT),
        ({"arch": "efficientnet_v2_b0", "scale": "unit"}, "imagenet", True, UNIT),
        ({"weights": "none"}, "none", False, LITE),
        ({"arch": "mobilenet_v3_small", "mode": "full"}, "imagenet", False, SYMMETRIC),
        ({"arch": "small_cnn"}, "none", False, UNIT),
    ],
)
def test_what_auto_becomes(values: dict[str, Any], kind: str, frozen: bool, scale: Scale) -> None:
    made = settings(**values)
    assert (made.weights_kind, made.frozen) == (kind, frozen)
    assert made.own_scale == scale
    assert (made.recipe().multiply, made.recipe().add) == (scale.multiply, scale.add)


def test_the_schedule_is_the_modes_own_unless_set() -> None:
    assert settings(mode="frozen").schedule() == (0, 0.0)
    assert settings(mode="full").schedule()[0] > 0
    assert settings(mode="full", epochs=3, learning_rate=0.5).schedule() == (3, 0.5)


def test_the_command_line_loads_no_tensorflow() -> None:
    code = "import sys, trainer.__main__; sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_command_line_reports_the_faults_of_both_sections() -> None:
    command = [sys.executable, "-m", "trainer", "--output", "x", "--epochs", "-1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == ConfigError.exit_code
    assert "path: is required" in done.stderr
    assert "--epochs: epochs: must be >= 0" in done.stderr
