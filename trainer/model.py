"""Architecture > Keras model > SavedModel.

The graph, by layer name: `image` uint8 > `scaling` > `backbone` > `head` (a Dense) = `logits` > `probabilities`.
Converters split weights by name: what isn't under `head` is backbone. Scaling is in the graph so that bytes, not
floats, cross every boundary.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from eaves.errors import ConfigError, Fault
from eaves.recipe import Recipe
from trainer.settings import TrainSettings


def build_model(settings: TrainSettings, recipe: Recipe, classes: int) -> Any:
    """The whole model, its head fresh.

    Returns:
        model: image (N, H, W, 3) uint8 > {"logits", "probabilities"}, each (N, classes) float32.

    Raises:
        ConfigError: When the backbone's weights can't be loaded.
    """
    # Layers are numbered per process; from 0 again, or the second model of a process has other weight names.
    keras.backend.clear_session()
    keras.utils.set_random_seed(settings.seed)
    backbone = _build_backbone(settings, recipe.height)
    backbone.trainable = not settings.frozen
    image = keras.Input((recipe.height, recipe.width, 3), dtype="uint8", name="image")
    scaled = keras.layers.Rescaling(recipe.multiply, recipe.add, name="scaling")(image)
    logits = keras.layers.Dense(classes, name="head")(backbone(scaled))
    probabilities = keras.layers.Softmax(name="probabilities")(logits)
    return keras.Model(image, {"logits": logits, "probabilities": probabilities}, name=settings.arch)


def backbone_digest(model: Any) -> str:
    """sha256 of the backbone's weights in order, hex: what tells whether two runs share a backbone."""
    digest = hashlib.sha256()
    for values in model.get_layer("backbone").get_weights():
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


def _build_backbone(settings: TrainSettings, size: int) -> Any:
    kind, build = settings.weights_kind, settings.architecture.build
    start = {"none": None, "imagenet": "imagenet", "file": settings.weights}[kind]
    if kind == "file" and not Path(settings.weights).is_file():
        raise _weights_error(settings, "no such file", "name a Keras weights file, imagenet or none")
    try:
        backbone = build(start, size)
    except (OSError, ValueError, KeyError) as error:
        hint = f"use weights of {settings.arch} saved without its top (`include_top=False`)"
        raise _weights_error(settings, f"can't be loaded into {settings.arch}: {str(error)[:300]}", hint) from error
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
