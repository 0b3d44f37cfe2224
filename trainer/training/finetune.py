"""Fine-tuning: trains the backbone's top blocks and the head on cached activations of a few variants of each image.

The layers below the cut don't change, so their output for each variant is computed once and kept (float16, in a mapped
file: 0.44 MB per image of Inception V3 at `mixed7`). The head is first trained on the unchanged features; then the top
blocks and the head are trained together at a small learning rate. Batch normalisation keeps its statistics, because a
few hundred photos estimate them less well than a million images did.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from eaves.errors import ConfigError, Fault
from trainer.data.augmentation import Augmentation
from trainer.feature_cache import Array, map_array
from trainer.training import loop
from trainer.training.head import TrainableHead, fit_head
from trainer.training.training_task import TrainingResult, TrainingTask

DTYPE = "float16"
"""Data type of cached activations; it halves the disk space, and its error of 0.05 % is far below the changes of
fine-tuning."""


def fit_finetune(task: TrainingTask) -> TrainingResult:
    """Train the head, and then the layers above the cut with it.

    Raises:
        ConfigError: The backbone can't be cut at that layer.
    """
    decoded, settings = task.decoded, task.settings
    lower, upper = cut_backbone(task.model, settings.cut_layer)
    train, augmentation = decoded.rows("train"), settings.augmentation
    rows = np.concatenate([np.arange(len(decoded.labels)), *[train] * (augmentation.variants - 1)])
    with map_array((len(rows), *lower.output_shape[1:]), DTYPE) as activations:
        _fill(task, lower, augmentation, activations)
        start = fit_head(task, _features(task, upper, activations))
        head = TrainableHead(start, images=len(train), l2=settings.head_l2)
        trained = np.concatenate([train, np.arange(len(decoded.labels), len(rows))])
        image = keras.Input(activations.shape[1:])
        history = loop.fit(
            keras.Model(image, head(upper(image))),
            loop.Batches(activations, decoded.labels[rows], trained, settings, shuffle=True),
            settings,
            task.progress,
            validation=loop.Batches(activations, decoded.labels, decoded.rows("val"), settings, shuffle=False),
            stage="finetune",
            checkpoints=task.checkpoints,
            class_weight=task.class_weight,
        )
    head.fold_into(task.model.get_layer("head"))
    return TrainingResult(history=history, val_logits=task.validate(), head=str(start.recipe))


def cut_backbone(model: Any, layer: str) -> tuple[Any, Any]:
    """Cut the backbone in two; only the layers above the cut stay trainable, except batch normalisation.

    Returns:
        lower: Keras model from image to the output of `layer`.
        upper: Keras model from that output to features; both share the model's layers.

    Raises:
        ConfigError: There is no such layer, or the layers above it don't get the image only through its output.
    """
    backbone = model.get_layer("backbone")
    try:
        tensor = backbone.get_layer(layer).output
        upper = keras.Model(tensor, backbone.output, name="upper")
    except (ValueError, KeyError) as error:
        fault = Fault(
            origin="training", path="cut", message=f"the network can't be divided at this layer (got {layer!r})"
        )
        hint = "name a layer that all data pass through, such as the last layer of a block"
        raise ConfigError([fault], hint=hint) from error
    lower = keras.Model(model.input, keras.Model(backbone.input, tensor)(model.get_layer("scaling").output))
    above = {id(one) for one in upper.layers}
    for one in backbone.layers:
        one.trainable = id(one) in above and not isinstance(one, keras.layers.BatchNormalization)
    return lower, upper


def _fill(task: TrainingTask, lower: Any, augmentation: Augmentation, activations: Array) -> None:
    """Fill `activations` with the lower layers' outputs for all images, then for variants of the training images."""
    digests, pixels = task.digests(), task.decoded.pixels
    train = task.decoded.rows("train")
    start = 0
    for variant in range(augmentation.variants):
        rows = train if variant else np.arange(len(digests))

        def read(wanted: Any, rows: npt.NDArray[np.int64] = rows, variant: int = variant) -> Array:
            chosen = rows[wanted]
            named = [digests[row] for row in chosen]
            images = zip(pixels[chosen], named, strict=True)
            return np.stack([augmentation.apply(image, digest, variant) for image, digest in images])

        task.cache(task.settings.cut_layer, variant=variant, dtype=DTYPE).compute(
            lower,
            read,
            [digests[row] for row in rows],
            activations[start : start + len(rows)],
            batch_size=task.settings.batch_size,
            progress=task.progress,
            title=f"Backbone pass {variant + 1}/{augmentation.variants}",
        )
        start += len(rows)


def _features(task: TrainingTask, upper: Any, activations: Array) -> npt.NDArray[np.float32]:
    """Return the features of the unchanged images, computed by the top blocks before they are fine-tuned."""
    digests = task.digests()
    features = np.empty((len(digests), *upper.output_shape[1:]), np.float32)
    task.cache(f"backbone above {task.settings.cut_layer}").compute(
        upper,
        lambda rows: activations[rows],
        digests,
        features,
        batch_size=task.settings.batch_size,
        progress=task.progress,
        title="Top blocks",
    )
    return features
