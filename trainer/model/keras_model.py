"""Architecture > Keras model > SavedModel.

The graph, by layer name: `image` uint8 > `scaling` > `backbone` > `head` (a Dense) = `logits` > `head_temperature` >
`probabilities`. Converters split weights by name: what isn't under `head` or `head_...` is backbone. Scaling is in the
graph so that bytes, not floats, cross every boundary.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from eaves.errors import ConfigError, Fault
from trainer.pixel_scale.scales import Scale
from trainer.settings import TrainSettings


def build_backbone(settings: TrainSettings) -> Any:
    """The backbone with its first weights, for `build_model`; nothing else may be built between the two.

    Returns:
        backbone: (N, H, W, 3) float32, scaled > (N, features) float32.

    Raises:
        ConfigError: When the weights can't be loaded.
    """
    # Layers are numbered per process; from 0 again, or the second model of a process has other weight names.
    keras.backend.clear_session()
    keras.utils.set_random_seed(settings.seed)
    backbone = _load_backbone(settings, settings.recipe().height)
    backbone.trainable = not settings.frozen
    return backbone


def build_model(settings: TrainSettings, scale: Scale, classes: int, backbone: Any = None) -> Any:
    """The whole model, its head fresh.

    Args:
        settings: Of the training.
        scale: What the backbone's weights expect pixels to be.
        classes: Number of them.
        backbone: From `build_backbone`; None: built here.

    Returns:
        model: image (N, H, W, 3) uint8 > {"logits", "probabilities"}, each (N, classes) float32.

    Raises:
        ConfigError: When the backbone's weights can't be loaded.
    """
    backbone = backbone or build_backbone(settings)
    image = keras.Input(backbone.input_shape[1:], dtype="uint8", name="image")
    factors, offsets = (values if len(values) > 1 else values[0] for values in (scale.factors(), scale.offsets()))
    scaled = keras.layers.Rescaling(factors, offsets, name="scaling")(image)
    logits = keras.layers.Dense(classes, name="head")(backbone(scaled))
    temperature = _build_temperature()
    probabilities = keras.layers.Softmax(name="probabilities")(temperature(logits))
    model = keras.Model(image, {"logits": logits, "probabilities": probabilities}, name=settings.arch)
    set_temperature(model, 1.0)
    return model


def set_temperature(model: Any, temperature: float) -> None:
    """Make the probabilities softmax(logits / temperature); the logits stay as they are."""
    layer = model.get_layer("head_temperature")
    # A division by exactly 1 is optimised away on conversion: the graph would differ from every other head's.
    exact = np.float32(temperature)
    divisor = np.nextafter(exact, np.float32(2)) if exact == 1 else exact
    mean, variance, count = layer.get_weights()
    layer.set_weights([np.zeros_like(mean), np.full_like(variance, divisor**2), count])
    layer.finalize_state()


def accelerators() -> list[str]:
    """Names of the devices besides the CPU that TensorFlow sees."""
    return [device.name for device in tf.config.list_physical_devices() if device.device_type != "CPU"]


def backbone_digest(model: Any) -> str:
    """sha256 of the backbone's weights in order, hex: what tells whether two runs share a backbone."""
    return weights_digest(model.get_layer("backbone"))


def weights_digest(network: Any) -> str:
    """sha256 of a network's weights in order, hex."""
    digest = hashlib.sha256()
    for values in network.get_weights():
        digest.update(f"{values.dtype}{values.shape}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def save_keras(model: Any, path: Path) -> None:
    """Write Keras's own file."""
    model.save(path)


def save_saved_model(model: Any, path: Path) -> None:
    """Write a SavedModel with one signature, `serving_default`, and no training state.

    image (N, H, W, 3) uint8 > logits, probabilities (N, classes) float32.
    """
    # Keras's own `model.export` writes each weight twice (3.15: 175 MB of Inception V3 instead of 87).
    module = tf.Module()
    module.weights = [variable.value for variable in model.variables]
    spec = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8, name="image")
    serve = tf.function(lambda image: model(image, training=False), input_signature=[spec])
    tf.saved_model.save(module, str(path), signatures={"serving_default": serve})


def _build_temperature() -> Any:
    """Divides the logits of class i by the square root of weight i, though all are T squared.

    A vector stays a weight of the head through conversion, where a scalar would be folded into the graph, and each new
    head would change the graph's bytes. Normalization is the layer of Keras's own that divides by weights without an
    epsilon, so model.keras opens without our code; EinsumDense would too, but tf2onnx names its parts after addresses.
    """
    return keras.layers.Normalization(name="head_temperature")


def _load_backbone(settings: TrainSettings, size: int) -> Any:
    kind, build = settings.weights_kind, settings.architecture.build
    start = {"none": None, "imagenet": "imagenet", "file": settings.weights}[kind]
    if kind == "file" and not Path(settings.weights).is_file():
        raise _weights_error(settings, "no such file", "name a Keras weights file, imagenet or none")
    try:
        backbone = build(start, size)
    except (OSError, ValueError, KeyError) as error:
        hint = f"use weights of {settings.arch} saved without its top (`include_top=False`)"
        raise _weights_error(
            settings, f"can't be loaded into {settings.arch}: {' '.join(str(error).split())[:300]}", hint
        ) from error
    except Exception as error:
        # Source: keras/src/utils/file_utils.py, get_file: a download that fails raises a bare Exception.
        if kind != "imagenet":
            raise
        message = f"can't be downloaded: {str(error)[:300]}"
        raise _weights_error(settings, message, "give the path of a weights file instead") from error
    backbone.name = "backbone"
    return backbone


def _weights_error(settings: TrainSettings, message: str, hint: str) -> ConfigError:
    fault = Fault(origin="training", path="weights", message=f"{message} (got {settings.weights!r})")
    return ConfigError([fault], hint=hint)
