"""The architectures that can be trained, one table.

To add one: write `_build_NAME(weights, size)` that returns a Keras model from (size, size, 3) scaled floats to one
vector of features, and add its line to `ARCHITECTURES`. Settings, help and documentation follow from the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

UNIT = (1 / 255, 0.0)
"""Pixels 0..255 onto 0..1, as (multiply, add)."""
SYMMETRIC = (1 / 127.5, -1.0)
"""Pixels 0..255 onto -1..1, what `keras.applications` calls "tf" preprocessing.

Source: keras/src/applications/imagenet_utils.py, `_preprocess_numpy_input`, mode "tf".
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One line of the table.

    Attributes:
        name: What `train.arch` says.
        build: (weights, size) > backbone. weights: `imagenet`, None or a file's path; size: side of its input, pixels.
        size: Side of its input unless `train.image_size` says otherwise, pixels.
        min_size: Smallest side it works with, pixels.
        pretrained: Whether there are weights to start from, so that freezing it makes sense.
        keras_scale: (multiply, add) that Keras's own weights want; also used without weights.
        file_scale: (multiply, add) that weights from a file are taken to want.
        epochs: When everything is trained.
        learning_rate: Peak, when everything is trained.
        cut: Layer above which fine-tuning trains; everything above sees the image only through its output. Empty: none.
    """

    name: str
    build: Callable[[str | None, int], Any]
    size: int
    min_size: int
    pretrained: bool
    keras_scale: tuple[float, float]
    file_scale: tuple[float, float]
    epochs: int
    learning_rate: float
    cut: str


def _build_inception_v3(weights: str | None, size: int) -> Any:
    """Szegedy et al. 2015 (arXiv:1512.00567), without its classifier: 2,048 features."""
    import keras

    shape = (size, size, 3)
    return keras.applications.InceptionV3(include_top=False, pooling="avg", weights=weights, input_shape=shape)


def _build_mobilenet_v3_small(weights: str | None, size: int) -> Any:
    """Howard et al. 2019 (arXiv:1905.02244), without its classifier: 576 features."""
    import keras

    shape = (size, size, 3)
    # include_preprocessing: our recipe scales, not the network.
    return keras.applications.MobileNetV3Small(
        include_top=False, pooling="avg", weights=weights, input_shape=shape, include_preprocessing=False
    )


def _build_small_cnn(weights: str | None, size: int) -> Any:  # noqa: ARG001 - one signature for all
    """Five convolutions for small pictures, from nothing to useful within seconds on a CPU; no batch normalisation."""
    import keras
    from keras import layers

    image = keras.Input((size, size, 3))
    x = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(image)
    x = layers.Conv2D(64, 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(64, 3, padding="same", activation="relu")(x)
    x = layers.Conv2D(96, 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(96, 3, padding="same", activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dropout(0.2)(x))


ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        Architecture(
            name="inception_v3",
            build=_build_inception_v3,
            size=299,
            min_size=75,
            pretrained=True,
            keras_scale=SYMMETRIC,
            file_scale=UNIT,
            epochs=20,
            learning_rate=1e-4,
            cut="mixed7",
        ),
        Architecture(
            name="mobilenet_v3_small",
            build=_build_mobilenet_v3_small,
            size=224,
            min_size=32,
            pretrained=True,
            keras_scale=SYMMETRIC,
            file_scale=SYMMETRIC,
            epochs=20,
            learning_rate=1e-4,
            cut="expanded_conv_7_add",
        ),
        Architecture(
            name="small_cnn",
            build=_build_small_cnn,
            size=32,
            min_size=16,
            pretrained=False,
            keras_scale=UNIT,
            file_scale=UNIT,
            epochs=12,
            learning_rate=2e-3,
            cut="",
        ),
    )
}
"""Name to architecture."""
