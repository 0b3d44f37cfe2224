"""The registry: every architecture builds, gives one vector, and takes pixels as its weights want them."""

import importlib
import logging
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import keras
import numpy as np
import pytest

from tests.inputs.settings import settings_from
from trainer.model.architectures import ARCHITECTURES
from trainer.model.keras_model import build_model, compile_network
from trainer.settings import TrainSettings

FEATURES = {
    "efficientnet_lite0": 1280,
    "inception_v3": 2048,
    "mobilenet_v2": 1280,
    "mobilenet_v3_small": 576,
    "efficientnet_v2_b0": 1280,
    "resnet50_v2": 2048,
    "small_cnn": 96,
}
PREPROCESSING = {
    "inception_v3": "inception_v3",
    "mobilenet_v2": "mobilenet_v2",
    "resnet50_v2": "resnet_v2",
}
"""Those of whose networks Keras prepares pixels outside: the module whose `preprocess_input` does."""
WITHIN = {
    "mobilenet_v3_small": "MobileNetV3Small",
    "efficientnet_v2_b0": "EfficientNetV2B0",
}
"""Architectures that scale pixels themselves by default."""


@cache
def small(name: str, weights: str = "none") -> Any:
    """The whole model of three classes at its smallest size."""
    values = {"arch": name, "weights": weights, "image_size": ARCHITECTURES[name].min_size}
    settings = settings_from(TrainSettings, values)
    return build_model(settings, 3)


def prepared(layers: list[Any], pixels: Any) -> Any:
    """Pixels after the scaling and normalising layers with which a network begins."""
    for layer in layers:
        if isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization):
            pixels = layer(pixels)
        elif not isinstance(layer, keras.layers.InputLayer):
            break
    return np.asarray(pixels)


QUICK = {"small_cnn", "efficientnet_lite0", "mobilenet_v2"}
SLOW = (pytest.mark.slow, pytest.mark.long("keras builds a network of hundreds of layers"))


def list_cases(names: Iterable[str]) -> list[Any]:
    """Networks that are built within a second, and the others in the tests that take minutes."""
    return [name if name in QUICK else pytest.param(name, marks=SLOW) for name in names]


@pytest.mark.parametrize("name", list_cases(ARCHITECTURES))
def test_it_builds_at_its_smallest_size_and_gives_a_vector(name: str):
    model, architecture = small(name), ARCHITECTURES[name]
    size = architecture.min_size
    assert model.input_shape == (None, size, size, 3)
    assert model.get_layer("backbone").output_shape == (None, FEATURES[name])
    scaling = model.get_layer("scaling")
    assert tuple(np.ravel(scaling.scale)) == pytest.approx(architecture.scale.factors())
    assert tuple(np.ravel(scaling.offset)) == pytest.approx(architecture.scale.offsets())


@pytest.mark.parametrize("name", list_cases([*PREPROCESSING, *WITHIN]))
def test_its_weights_see_pixels_as_keras_prepares_them(name: str):
    model, size = small(name), ARCHITECTURES[name].min_size
    pixels = np.random.default_rng(0).integers(0, 256, (1, size, size, 3)).astype(np.float32)
    ours = prepared([model.get_layer("scaling"), *model.get_layer("backbone").layers], pixels)
    if name in PREPROCESSING:
        module = importlib.import_module(f"keras.applications.{PREPROCESSING[name]}")
        prepare: Callable[[Any], Any] = module.preprocess_input
    else:
        whole = getattr(keras.applications, WITHIN[name])(include_top=False, weights=None, input_shape=(size, size, 3))
        prepare = lambda values: prepared(whole.layers, values)  # noqa: E731
    assert ours == pytest.approx(np.asarray(prepare(pixels.copy())), abs=1e-5)
    assert np.ptp(ours) > 1.5


def test_many_networks_are_compiled_without_a_warning_of_tensorflow(caplog: pytest.LogCaptureFixture):
    """Features of five candidates that were cached ended in "5 out of the last 9 calls ... triggered retracing"."""
    logger = logging.getLogger("tensorflow")
    logger.addHandler(caplog.handler)
    try:
        for _ in range(6):
            network = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
            compute = compile_network(network)
            for images in (1, 3):
                batch = np.ones((images, 2, 2, 3), np.float32)
                assert compute(batch) == pytest.approx(np.asarray(network(batch)), rel=1e-5)
    finally:
        logger.removeHandler(caplog.handler)
    assert "retracing" not in caplog.text
