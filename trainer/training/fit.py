"""Trains a built model on decoded pixels: its head, its top blocks and head, or all of it.

Epochs are fixed beforehand and the last one's weights are kept. The validation images are looked at after each epoch,
for the curves, and decide nothing here: the accuracy on them is honest. The temperature is fitted on them afterwards
(`trainer.evaluation.temperature`), which changes scores and no label.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from trainer.model.half_precision import half_precision
from trainer.training import loop
from trainer.training.finetune import fit_finetune
from trainer.training.head import train_head
from trainer.training.stuck import StuckWatch
from trainer.training.training_task import TrainingResult, TrainingTask


def fit(task: TrainingTask) -> TrainingResult:
    """Train as the settings' mode says; the weights end up in the task's model.

    Raises:
        ConfigError: When the backbone can't be cut where fine-tuning should begin.
    """
    return {"frozen": fit_frozen, "finetune": fit_finetune, "full": fit_full}[task.settings.resolved_mode](task)


def fit_frozen(task: TrainingTask) -> TrainingResult:
    """Run every image once through the frozen backbone and train the head on what comes out."""
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
    task.end_pass()
    head = train_head(task, features)
    head.fold_into(model.get_layer("head"))
    val_logits = np.asarray(head(features[decoded.rows("val")]))
    return TrainingResult(history=head.history, val_logits=val_logits)


def fit_full(task: TrainingTask) -> TrainingResult:
    """Train every layer on pixels; each epoch sees another variant of every image.

    Raises:
        StuckTrainingError: The network learns nothing from them.
    """
    task.end_pass()  # there is none to share
    # A model of its own around the same layers: the saved one carries no optimiser.
    model, decoded, settings = task.model, task.decoded, task.settings
    with half_precision(model):
        rows = decoded.rows("train")
        batches = loop.Batches(
            decoded.pixels, decoded.labels, rows, settings, shuffle=True, augment=_build_augment(task)
        )
        history = loop.fit(
            keras.Model(model.input, model.get_layer("head").output),
            batches,
            settings,
            task.progress,
            validation=loop.Batches(decoded.pixels, decoded.labels, decoded.rows("val"), settings, shuffle=False),
            stage="full",
            checkpoints=task.checkpoints,
            class_weight=task.class_weight,
            watch=StuckWatch(labels=decoded.dataset.labels, steps=len(batches)),
        )
    return TrainingResult(history=history, val_logits=task.validate())


def _build_augment(task: TrainingTask) -> loop.Augment | None:
    """What makes an epoch's variants of the training images; None: they are trained on as they are."""
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
