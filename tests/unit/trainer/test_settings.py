"""The sections `data` and `train`: rules across fields, what `auto` becomes, the command line without TensorFlow."""

from typing import Any

import pytest

from tests.inputs.settings import settings_from
from trainer.model.architectures import LITE, SYMMETRIC, UNIT, Scale
from trainer.settings import TrainSettings


def settings(**values: Any) -> TrainSettings:
    return settings_from(TrainSettings, values)


@pytest.mark.parametrize(
    ("values", "kind", "frozen", "scale"),
    [
        ({}, "imagenet", True, LITE),
        ({"weights": "notop.weights.h5"}, "file", True, LITE),
        ({"weights": "notop.weights.h5", "scale": "unit"}, "file", True, UNIT),
        ({"weights": "none"}, "none", False, LITE),
        ({"arch": "mobilenet_v3_small", "mode": "full"}, "imagenet", False, SYMMETRIC),
        ({"arch": "small_cnn"}, "none", False, UNIT),
    ],
)
def test_what_auto_becomes(values: dict[str, Any], kind: str, frozen: bool, scale: Scale):
    made = settings(**values)
    assert (made.weights_kind, made.frozen) == (kind, frozen)
    assert made.own_scale == scale
    assert (made.recipe().multiply, made.recipe().add) == (scale.multiply, scale.add)
