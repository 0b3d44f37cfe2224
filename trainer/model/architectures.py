"""Tables of the architectures that can be trained, and of the pixel scales that their weights may expect.

To add an architecture of Keras, add its line to `ARCHITECTURES`. To add another one, write `_build_NAME(weights,
size)`, which returns a Keras model from (size, size, 3) scaled floats to one vector of features, and name it in the
line. Settings, help, tests and `python -m bench architectures` use the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.model.efficientnet_lite import LITE0_WEIGHTS, PackagedWeights, build_efficientnet_lite0

AUTO = "auto"
"""Value of `train.arch` that compares all architectures whose weights this machine has (`trainer.model.selector`)."""
PRETRAINED, SMALL = "efficientnet_lite0", "small_cnn"
"""Architecture with installed pretrained weights, which is also the default of `train.arch`; and the one that `auto`
takes where there are no pretrained weights."""
SMALL_CNN_MOMENTUM = 0.8
"""Momentum of the running mean and variance in the batch normalisation of `small_cnn`. Keras's 0.99 needs hundreds of
steps to replace the initial values, and a small dataset has few steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Map from pixels, 0 to 255, to a network's input: multiply, add, then normalise each channel.

    Attributes:
        name: Value of `train.scale`.
        words: Range of the result, for people.
        multiply: Factor for all pixel values.
        add: Number that is added after multiplying.
        mean: Number that is subtracted from each channel after adding, RGB; empty for none.
        std: Number that each channel is divided by at the end, RGB; empty for none.
    """

    name: str
    words: str
    multiply: float
    add: float
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def factors(self) -> tuple[float, ...]:
        """Return the factor for the pixels of each channel, RGB; one number if all channels have the same."""
        return tuple(self.multiply / std for std in self.std) or (self.multiply,)

    def offsets(self) -> tuple[float, ...]:
        """Return the numbers that are added after multiplying by `factors`, one for each factor."""
        channels = zip(self.mean, self.std, strict=True)
        return tuple((self.add - mean) / std for mean, std in channels) or (self.add,)

    def apply(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Scale pixels; the result is bit for bit the same as that of the model's layer `scaling`.

        Args:
            pixels: (N, H, W, 3) uint8, RGB.

        Returns:
            scaled: (N, H, W, 3) float32.
        """
        factors, offsets = (np.asarray(values, np.float32) for values in (self.factors(), self.offsets()))
        return np.asarray(pixels.astype(np.float32) * factors + offsets)


UNIT = Scale(name="unit", words="0 to 1", multiply=1 / 255, add=0.0)
SYMMETRIC = Scale(name="symmetric", words="-1 to 1", multiply=1 / 127.5, add=-1.0)
"""Pixels from -1 to 1. Source: keras/src/applications/imagenet_utils.py, `_preprocess_numpy_input`, mode "tf"."""
TORCH = Scale(
    name="torch",
    words="0 to 1, then each channel normalised by ImageNet's mean and deviation",
    multiply=1 / 255,
    add=0.0,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
"""Pixels from 0 to 1, then normalised by the mean and deviation of ImageNet. Source:
keras/src/applications/imagenet_utils.py, `_preprocess_numpy_input`, mode "torch"."""
LITE = Scale(name="lite", words="-0.992 to 1", multiply=1 / 128, add=-127 / 128)
"""(pixels - 127) / 128, exact in float32; EfficientNet-Lite's own, which no measurement can tell from `SYMMETRIC`.
Source: github.com/tensorflow/tpu, models/official/efficientnet/lite/efficientnet_lite_builder.py, MEAN_RGB and
STDDEV_RGB."""
RAW = Scale(name="raw", words="0 to 255", multiply=1.0, add=0.0)

SCALES: dict[str, Scale] = {scale.name: scale for scale in (UNIT, SYMMETRIC, TORCH, RAW)}
"""Name of each scale to the scale: those that `train.scale` may name, and that a file of weights is probed for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """An architecture that can be trained.

    Attributes:
        name: Value of `train.arch`.
        build: Function from (weights, size) to the backbone; weights are `imagenet`, None or a file's path, size is the
            side of the input in pixels.
        gmacs: Multiplications and additions for one image at the default size, billions.
        size: Default side of the input in pixels; `train.image_size` overrides it.
        min_size: Smallest possible side of the input in pixels.
        more_sizes: Larger sides of the input, in pixels, that a selection compares with the default.
        pretrained: Whether pretrained weights exist, so that the backbone can be frozen.
        packaged: ImageNet weights that a Python distribution holds; None if Keras downloads them, or if there are none.
        keras_file: Start of the name of the file of weights that Keras downloads; empty if it downloads none.
        scale: Pixel scale that the pretrained weights expect; also used without weights, and for a file of weights
            whose scale could not be measured clearly.
        epochs: Number of epochs when the whole network is trained.
        learning_rate: Peak learning rate when the whole network is trained; small, because training usually starts from
            pretrained weights.
    """

    name: str
    build: Callable[[str | None, int], Any]
    gmacs: float
    size: int = 224
    min_size: int = 32
    more_sizes: tuple[int, ...] = ()
    pretrained: bool = True
    packaged: PackagedWeights | None = None
    keras_file: str = ""
    scale: Scale = SYMMETRIC
    epochs: int = 20
    learning_rate: float = 1e-4


def _build_application(weights: str | None, size: int, *, name: str, **options: Any) -> Any:
    """Build a network of `keras.applications` without its classifier.

    Args:
        weights: Weights to load: `imagenet`, None or a file's path.
        size: Side of the network's input in pixels.
        name: Name of the network's function in `keras.applications`.
        options: Further arguments of that function; `include_preprocessing=False` if it would scale pixels, because the
            layer `scaling` does.
    """
    import keras

    build, shape = getattr(keras.applications, name), (size, size, 3)
    return build(include_top=False, pooling="avg", weights=weights, input_shape=shape, **options)


def _build_small_cnn(weights: str | None, size: int) -> Any:  # noqa: ARG001 - one signature for all
    """Build a network of five convolutions for small pictures that trains within seconds on a CPU.

    Each convolution is normalised over its batch. Without normalisation, photos of one part under a fixed camera were
    never learned: the common background decided the features, and the loss stayed at the level of guessing.
    """
    import keras
    from keras import layers

    def convolve(x: Any, filters: int, strides: int = 1) -> Any:
        x = layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
        return layers.ReLU()(layers.BatchNormalization(momentum=SMALL_CNN_MOMENTUM)(x))

    image = keras.Input((size, size, 3))
    x = layers.MaxPooling2D()(convolve(convolve(image, 32, strides=2), 64))
    x = layers.MaxPooling2D()(convolve(convolve(x, 64), 96))
    x = layers.GlobalAveragePooling2D()(convolve(x, 96))
    return keras.Model(image, layers.Dropout(0.2)(x))


ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        Architecture(
            name="efficientnet_lite0",
            build=build_efficientnet_lite0,
            gmacs=0.407,
            more_sizes=(320, 448),
            packaged=LITE0_WEIGHTS,
            scale=LITE,
        ),
        Architecture(
            name="inception_v3",
            build=partial(_build_application, name="InceptionV3"),
            size=299,
            min_size=75,
            gmacs=5.7,
            keras_file="inception_v3_weights",
        ),
        Architecture(
            name="mobilenet_v2",
            build=partial(_build_application, name="MobileNetV2"),
            gmacs=0.3,
            keras_file="mobilenet_v2_weights",
        ),
        Architecture(
            name="mobilenet_v3_small",
            build=partial(_build_application, name="MobileNetV3Small", include_preprocessing=False),
            gmacs=0.06,
            keras_file="weights_mobilenet_v3_small",
        ),
        Architecture(
            name="efficientnet_v2_b0",
            # Source: keras/src/applications/efficientnet_v2.py, EfficientNetV2: the B variants normalise each channel,
            # although their documentation names -1..1, which is only true of S, M and L.
            build=partial(_build_application, name="EfficientNetV2B0", include_preprocessing=False),
            gmacs=0.72,
            keras_file="efficientnetv2-b0",
            scale=TORCH,
        ),
        Architecture(
            name="resnet50_v2",
            build=partial(_build_application, name="ResNet50V2"),
            gmacs=3.5,
            keras_file="resnet50v2_weights",
        ),
        Architecture(
            name="small_cnn",
            build=_build_small_cnn,
            size=32,
            min_size=16,
            gmacs=0.006,
            pretrained=False,
            scale=UNIT,
            epochs=40,
            learning_rate=2e-3,
        ),
    )
}
"""Name of each architecture to its entry."""
