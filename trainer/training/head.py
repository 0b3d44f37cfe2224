"""Trains the linear head on fixed features; the problem is convex and is solved in seconds.

Features are centred and scaled by one number, so that the optimizer sees unit variance and no weight of the head grows
because its feature is nearly constant (a head with such outliers does not survive quantisation).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from trainer.settings import HEAD_EPOCHS, HEAD_LEARNING_RATE
from trainer.training import loop
from trainer.training.training_task import TrainingTask

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A trained head.

    Attributes:
        dense: Dense layer on scaled features.
        mean: Mean of the training images' features, (features,) float32.
        scale: Standard deviation of all the training images' features together.
        history: The loss, accuracy, val_loss and val_accuracy of each epoch.
    """

    dense: Any
    mean: Floats
    scale: float
    history: list[dict[str, float]]

    def __call__(self, features: Any) -> Any:
        """Return the logits of features; they may be an array or a tensor."""
        return self.dense((features - self.mean) / np.float32(self.scale))

    def fold_into(self, layer: Any) -> None:
        """Set the weights of a Dense layer on unscaled features so that it gives the same logits."""
        kernel, bias = (np.asarray(values, np.float64) for values in self.dense.get_weights())
        kernel /= self.scale
        layer.set_weights([kernel.astype(np.float32), (bias - self.mean @ kernel).astype(np.float32)])


def train_head(task: TrainingTask, features: Floats) -> Head:
    """Train the head of a task's model.

    Args:
        task: Training task. In a mode other than `frozen` the head's own epochs and learning rate are used.
        features: (images, features) float32, one row for each decoded image.
    """
    decoded, settings = task.decoded, task.settings
    train = decoded.rows("train")
    mean = features[train].mean(axis=0)
    scale = float(features[train].std(dtype=np.float64)) or 1.0
    scaled = (features - mean) / np.float32(scale)
    penalty = keras.regularizers.L2(settings.head_l2 / (2 * len(train)))
    dense = keras.layers.Dense(len(decoded.dataset.labels), kernel_regularizer=penalty)
    history = loop.fit(
        keras.Sequential([keras.Input(features.shape[1:]), dense]),
        loop.Batches(scaled, decoded.labels, train, settings, shuffle=True),
        settings,
        task.progress,
        validation=loop.Batches(scaled, decoded.labels, decoded.rows("val"), settings, shuffle=False),
        stage="head",
        checkpoints=task.checkpoints,
        class_weight=task.class_weight,
        schedule=None if settings.frozen else (HEAD_EPOCHS, HEAD_LEARNING_RATE),
        wait=task.input_wait,
    )
    return Head(dense=dense, mean=mean, scale=scale, history=history)
