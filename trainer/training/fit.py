"""Trains a built model on decoded pixels: its head, its top blocks and head, or the whole network.

The number of epochs is fixed beforehand and the weights of the last epoch are kept. The validation images are evaluated
after each epoch for the curves only and decide nothing, so that the accuracy on them is unbiased. The temperature is
fitted on them afterwards (`trainer.evaluation.temperature`), which changes scores and no label.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from trainer.training import loop
from trainer.training.finetune import fit_finetune
from trainer.training.head import fit_head
from trainer.training.training_task import TrainingResult, TrainingTask


def fit(task: TrainingTask) -> TrainingResult:
    """Train in the mode of the settings; the task's model gets the weights.

    Raises:
        ConfigError: The backbone can't be cut at the layer where fine-tuning begins.
    """
    return {"frozen": fit_frozen, "finetune": fit_finetune, "full": fit_full}[task.settings.resolved_mode](task)


def fit_frozen(task: TrainingTask) -> TrainingResult:
    """Run every image once through the frozen backbone and fit the head to the features."""
    model, decoded = task.model, task.decoded
    backbone = model.get_layer("backbone")
    trunk = keras.Model(model.input, backbone(model.get_layer("scaling").output))
    features = np.empty((len(decoded.labels), *trunk.output_shape[1:]), np.float32)
    task.cache("backbone").compute(
        trunk,
        lambda rows: decoded.pixels[rows],
        task.digests(),
        features,
        batch_size=task.settings.batch_size,
        progress=task.progress,
        title="Backbone pass",
    )
    head = fit_head(task, features)
    head.fold_into(model.get_layer("head"))
    val_logits = head.linear(features[decoded.rows("val")]).astype(np.float32)
    return TrainingResult(history=[], val_logits=val_logits, head=str(head.recipe))


def fit_full(task: TrainingTask) -> TrainingResult:
    """Train every layer on pixels; each epoch uses another variant of every image."""
    # This model wraps the same layers, so that the saved model carries no optimizer.
    model, decoded, settings = task.model, task.decoded, task.settings
    rows, augment = decoded.rows("train"), _build_augment(task)
    history = loop.fit(
        keras.Model(model.input, model.get_layer("head").output),
        loop.Batches(decoded.pixels, decoded.labels, rows, settings, shuffle=True, augment=augment),
        settings,
        task.progress,
        validation=loop.Batches(decoded.pixels, decoded.labels, decoded.rows("val"), settings, shuffle=False),
        stage="full",
        checkpoints=task.checkpoints,
        class_weight=task.class_weight,
    )
    return TrainingResult(history=history, val_logits=task.validate())


def _build_augment(task: TrainingTask) -> loop.Augment | None:
    """Return the function that makes an epoch's variants of the training images; None if they are not augmented."""
    augmentation, digests = task.settings.augmentation, task.digests()
    if augmentation.variants == 1:
        return None

    def augment(images: npt.NDArray[Any], rows: loop.Rows, epoch: int) -> npt.NDArray[Any]:
        named = [digests[row] for row in rows]
        return np.stack(
            [
                augmentation.apply(image, digest, augmentation.variant_in_epoch(digest, epoch))
                for image, digest in zip(images, named, strict=True)
            ]
        )

    return augment
