"""Trains a built model on decoded pixels: its head on stored features, or all of it.

Epochs are fixed beforehand and the last one's weights are kept. The validation images are looked at after each epoch,
for the curves, and decide nothing: what they say in the end is honest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from trainer.pixels import Decoded
from trainer.progress import Progress, Step
from trainer.settings import TrainSettings

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What training leaves besides the weights.

    Attributes:
        history: Per epoch: loss, accuracy, val_loss, val_accuracy.
        val_logits: (validation images, classes) float32, of the final weights.
    """

    history: list[dict[str, float]]
    val_logits: Floats


def fit_head(model: Any, decoded: Decoded, settings: TrainSettings, progress: Progress) -> Fitted:
    """Run every image once through the frozen backbone and train the head on what comes out."""
    backbone = model.get_layer("backbone")
    trunk = keras.Model(model.input, backbone(model.get_layer("scaling").output))
    train, val = decoded.rows("train"), decoded.rows("val")
    features = run(
        trunk, decoded.pixels, np.arange(len(decoded.labels)), settings.batch_size, progress, "Backbone pass"
    )
    # Centred, and scaled by one number: the optimiser sees unit variance, and no weight of the head grows because its
    # feature is nearly constant (a head with such outliers does not survive quantisation).
    mean = features[train].mean(axis=0)
    scale = float(features[train].std(dtype=np.float64)) or 1.0
    features = (features - mean) / np.float32(scale)
    penalty = keras.regularizers.L2(settings.head_l2 / (2 * len(train)))
    dense = keras.layers.Dense(len(decoded.dataset.labels), kernel_regularizer=penalty)
    head = keras.Sequential([keras.Input(features.shape[1:]), dense])
    history = _fit(
        head, Batches(features, decoded.labels, train, settings, shuffle=True), settings, progress, decoded, features
    )
    kernel, bias = (np.asarray(values, np.float64) for values in dense.get_weights())
    kernel /= scale
    model.get_layer("head").set_weights([kernel.astype(np.float32), (bias - mean @ kernel).astype(np.float32)])
    return Fitted(history=history, val_logits=np.asarray(head(features[val])))


def fit_full(model: Any, decoded: Decoded, settings: TrainSettings, progress: Progress) -> Fitted:
    """Train every layer on pixels."""
    # A model of its own around the same layers: the saved one carries no optimiser.
    training = keras.Model(model.input, model.get_layer("head").output)
    batches = Batches(decoded.pixels, decoded.labels, decoded.rows("train"), settings, shuffle=True)
    history = _fit(training, batches, settings, progress, decoded, decoded.pixels)
    logits = run(training, decoded.pixels, decoded.rows("val"), settings.batch_size, progress, "Validation")
    return Fitted(history=history, val_logits=logits)


def run(model: Any, pixels: npt.NDArray[Any], rows: Rows, batch_size: int, progress: Progress, title: str) -> Floats:
    """The model's outputs for some rows.

    Returns:
        outputs: (len(rows), ...) float32.
    """
    outputs = []
    with progress.phase(title, len(rows)) as step:
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            outputs.append(np.asarray(model.predict_on_batch(pixels[batch])))
            step(len(batch))
    return np.concatenate(outputs)


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Rows of an array that may be a mapped file, batch by batch; shuffled anew each epoch from the seed."""

    def __init__(
        self, inputs: npt.NDArray[Any], labels: Rows, rows: Rows, settings: TrainSettings, *, shuffle: bool
    ) -> None:
        super().__init__()
        self._inputs, self._labels, self._rows = inputs, labels, rows.copy()
        self._size = settings.batch_size
        self._random = np.random.default_rng(settings.seed) if shuffle else None
        self.on_epoch_end()

    def __len__(self) -> int:
        return math.ceil(len(self._rows) / self._size)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[Any], Rows]:
        rows = self._rows[index * self._size : (index + 1) * self._size]
        return self._inputs[rows], self._labels[rows]

    def on_epoch_end(self) -> None:
        """Shuffle, for the next epoch."""
        if self._random is not None:
            self._random.shuffle(self._rows)


class _Report(keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(self, step: Step) -> None:
        super().__init__()
        self._step = step

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Tell the progress."""
        values = logs or {}
        names = ("loss", "accuracy", "val_accuracy")
        self._step(1, " ".join(f"{name} {values[name]:.3f}" for name in names if name in values))


def _fit(
    model: Any,
    batches: Batches,
    settings: TrainSettings,
    progress: Progress,
    decoded: Decoded,
    inputs: npt.NDArray[Any],
) -> list[dict[str, float]]:
    epochs, rate = settings.schedule()
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, epochs * len(batches))),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    held_out = Batches(inputs, decoded.labels, decoded.rows("val"), settings, shuffle=False)
    with progress.phase("Epochs", epochs) as step:
        fitted = model.fit(
            batches, validation_data=held_out, epochs=epochs, verbose=0, shuffle=False, callbacks=[_Report(step)]
        )
    return [
        {name: float(values[epoch]) for name, values in fitted.history.items()}
        for epoch in range(len(fitted.history["loss"]))
    ]
