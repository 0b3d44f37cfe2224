"""Fine-tuning: the backbone's top blocks and the head, on what reaches them of a few variants of each image.

Everything below the cut stays as it came, so its output for each variant is computed once and kept (float16, in a
mapped file: 0.44 MB per image of Inception V3 at `mixed7`). The head starts as the best one for the features as they
came; then both are trained together at a small rate. Batch normalisation stays as it was learned: a few hundred photos
say less about its statistics than a million images did.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from eaves.errors import ConfigError, Fault
from trainer.data.augmentation import Augmentation
from trainer.features.feature_cache import Array, map_array
from trainer.training import loop
from trainer.training.head import train_head
from trainer.training.training_task import TrainingResult, TrainingTask

DTYPE = "float16"
"""Of kept activations: half the disk, and 0.05 % of a value is far below what fine-tuning changes."""


def fit_finetune(task: TrainingTask) -> TrainingResult:
    """Train what is above the cut, after the head.

    Raises:
        ConfigError: When the backbone can't be cut at that layer.
    """
    decoded, settings = task.decoded, task.settings
    lower, upper = cut_backbone(task.model, settings.cut_layer)
    train, augmentation = decoded.rows("train"), settings.augmentation
    rows = np.concatenate([np.arange(len(decoded.labels)), *[train] * (augmentation.variants - 1)])
    with map_array((len(rows), *lower.output_shape[1:]), DTYPE) as activations:
        _fill(task, lower, augmentation, activations)
        task.end_pass()
        head = train_head(task, _features(task, upper, activations))
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
    return TrainingResult(history=history, val_logits=task.validate())


def cut_backbone(model: Any, layer: str) -> tuple[Any, Any]:
    """Cut the backbone in two and leave only what is above trainable, without batch normalisation.

    Returns:
        lower: image > output of `layer`.
        upper: that > features. Both share the model's layers.

    Raises:
        ConfigError: No such layer, or what is above it sees more of the image than its output.
    """
    backbone = model.get_layer("backbone")
    try:
        tensor = backbone.get_layer(layer).output
        upper = keras.Model(tensor, backbone.output, name="upper")
    except (ValueError, KeyError) as error:
        fault = Fault(origin="training", path="cut", message=f"the network can't be cut there (got {layer!r})")
        hint = "name a layer that everything above goes through, such as the end of a block"
        raise ConfigError([fault], hint=hint) from error
    lower = keras.Model(model.input, keras.Model(backbone.input, tensor)(model.get_layer("scaling").output))
    above = {id(one) for one in upper.layers}
    for one in backbone.layers:
        one.trainable = id(one) in above and not isinstance(one, keras.layers.BatchNormalization)
    return lower, upper


def _fill(task: TrainingTask, lower: Any, augmentation: Augmentation, activations: Array) -> None:
    """All images, then the other variants of the training images, one variant after the other."""
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
    """What the top blocks, as they came, make of the images themselves."""
    digests = task.digests()
    features = np.empty((len(digests), *upper.output_shape[1:]), np.float32)
    task.cache(f"backbone above {task.settings.cut_layer}", shared=False).compute(
        upper,
        lambda rows: activations[rows],
        digests,
        features,
        batch_size=task.settings.batch_size,
        progress=task.progress,
        title="Top blocks",
    )
    return features
