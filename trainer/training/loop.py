"""The training loop: trains a model on batches, and resumes at the exact step after a kill.

The order of an epoch and the variants of its images are pure functions of (seed, epoch). So a checkpoint holds only
numbers: every variable (weights, optimizer, random states), the epoch, the step in it and the sums of its curves. A
resumed training ends with the same weights as one that was never stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from eaves.errors import StoppedError
from trainer.data.pixels import PixelRows
from trainer.feature_cache import prefetch
from trainer.progress import Step, TrainingProgress
from trainer.settings import TrainSettings
from trainer.training.checkpoint import Checkpoints

Rows = npt.NDArray[np.int64]
Augment = Callable[[npt.NDArray[Any], Rows, int], npt.NDArray[Any]]
"""`augment(inputs, rows, epoch)` returns the batch's augmented inputs; it is a pure function of its arguments."""


class Batches:
    """Batches of the rows of an array, or of an object that is indexed like one.

    Args:
        inputs: (N, ...) input of the model for every example.
        labels: (N,) int64, index of each example's class.
        rows: Rows that are used.
        settings: Settings with the batch size and the seed.
        shuffle: Whether each epoch has another order; the order is a pure function of (seed, epoch).
        augment: Function that is applied to each batch; None for none.
    """

    def __init__(
        self,
        inputs: PixelRows | npt.NDArray[Any],
        labels: Rows,
        rows: Rows,
        settings: TrainSettings,
        *,
        shuffle: bool,
        augment: Augment | None = None,
    ) -> None:
        self._inputs, self._labels, self._rows = inputs, labels, rows
        self._size, self._seed, self._shuffle, self._augment = settings.batch_size, settings.seed, shuffle, augment

    def __len__(self) -> int:
        """Return the number of steps of an epoch."""
        return math.ceil(len(self._rows) / self._size)

    def epoch(self, number: int, first: int = 0) -> Generator[tuple[npt.NDArray[Any], Rows], None, None]:
        """Yield (inputs, labels) of one epoch's batches from step `first` on; threads prepare the next ones meanwhile.

        Epochs and steps are counted from 0.
        """
        rows = np.random.default_rng((self._seed, number)).permutation(self._rows) if self._shuffle else self._rows
        starts = range(first * self._size, len(rows), self._size)

        def load(start: int) -> tuple[npt.NDArray[Any], Rows]:
            chosen = rows[start : start + self._size]
            inputs = self._inputs[chosen]
            return (inputs if self._augment is None else self._augment(inputs, chosen, number)), self._labels[chosen]

        return prefetch(load, starts)


@dataclass(slots=True, kw_only=True)
class _Position:
    """Position of a training between two steps.

    Attributes:
        epoch: Number of finished epochs.
        step: Number of finished steps of the next epoch.
        loss: Sum of the loss over the images of those steps.
        correct: Number of images of those steps that were classified correctly.
        images: Number of images of those steps.
        history: The loss, accuracy, val_loss and val_accuracy of each finished epoch.
    """

    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    correct: int = 0
    images: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    def add(self, loss: float, correct: int, images: int) -> None:
        """Add a finished step with its mean loss and its number of images that were classified correctly."""
        self.step, self.images = self.step + 1, self.images + images
        self.loss, self.correct = self.loss + loss * images, self.correct + correct


def fit(
    model: Any,
    batches: Batches,
    settings: TrainSettings,
    progress: TrainingProgress,
    *,
    validation: Batches,
    checkpoints: Checkpoints,
    class_weight: Mapping[int, float],
) -> list[dict[str, float]]:
    """Train a model; resume from the last checkpoint if there is one. A finished training returns at once.

    Args:
        model: Keras model from inputs to (N, classes) logits. Its trainable variables are trained, and its `losses` are
            added.
        batches: Batches to train on.
        settings: Settings with the schedule.
        progress: Receives every step.
        validation: Batches that are evaluated after each epoch for the curves; they decide nothing.
        checkpoints: Checkpoints to resume from and to write; their `check_stop` stops the training.
        class_weight: Index of each class to the weight of its images in the loss.

    Returns:
        history: The loss, accuracy, val_loss and val_accuracy of each epoch.

    Raises:
        StoppedError: The process is asked to stop; a checkpoint of the last step is written.
    """
    epochs, rate = settings.schedule()
    trainer = _Trainer(model, keras.optimizers.schedules.CosineDecay(rate, epochs * len(batches)), class_weight)
    at = _restore(trainer, checkpoints)
    with progress.phase("Training", epochs * len(batches)) as report:
        try:
            report(at.epoch * len(batches) + at.step, _note(at, epochs))
            while at.epoch < epochs:
                with closing(batches.epoch(at.epoch, at.step)) as ready:
                    for inputs, labels in ready:
                        at.add(*trainer.step(inputs, labels), len(labels))
                        _after_step(trainer, at, checkpoints, report, epochs)
                measured = {"loss": at.loss / at.images, "accuracy": at.correct / at.images}
                at.history.append(measured | _validate(trainer, validation, checkpoints))
                at.epoch, at.step, at.loss, at.correct, at.images = at.epoch + 1, 0, 0.0, 0, 0
                report(0, _note(at, epochs))
        except StoppedError:
            _save(trainer, at, checkpoints)
            raise
    _save(trainer, at, checkpoints)
    return at.history


class _Trainer:
    """Holds a model, its optimizer, and the compiled functions that train and evaluate on one batch."""

    def __init__(self, model: Any, rate: Any, class_weight: Mapping[int, float]) -> None:
        self._model, self._optimizer, self._weights = model, keras.optimizers.Adam(rate), class_weight
        self._optimizer.build(model.trainable_variables)
        inputs = tf.TensorSpec((None, *model.input_shape[1:]), model.inputs[0].dtype)
        labels, weights = tf.TensorSpec((None,), tf.int64), tf.TensorSpec((None,), tf.float32)
        self._step = tf.function(self._graph_step, input_signature=[inputs, labels, weights])
        self._look = tf.function(self._graph_look, input_signature=[inputs, labels])

    def step(self, inputs: npt.NDArray[Any], labels: Rows) -> tuple[float, int]:
        """Train on one batch and return (mean loss, number of right answers)."""
        weights = np.array([self._weights[int(label)] for label in labels], dtype=np.float32)
        loss, correct = self._step(inputs, labels, weights)
        return float(loss), int(correct)

    def evaluate_batch(self, inputs: npt.NDArray[Any], labels: Rows) -> tuple[float, int]:
        """Return (mean loss, number of right answers) of one batch without training."""
        loss, correct = self._look(inputs, labels)
        return float(loss), int(correct)

    def variables(self) -> list[Any]:
        """Return all variables that change in training, always in the same order."""
        return [*self._model.variables, *self._optimizer.variables]

    def _graph_step(self, inputs: Any, labels: Any, weights: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            logits = self._model(inputs, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses * weights) + sum(self._model.losses)
        gradients = tape.gradient(loss, [variable.value for variable in self._model.trainable_variables])
        self._optimizer.apply(gradients, self._model.trainable_variables)
        return loss, _count_right(logits, labels)

    def _graph_look(self, inputs: Any, labels: Any) -> tuple[Any, Any]:
        logits = self._model(inputs, training=False)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        loss = tf.reduce_mean(losses) + sum(self._model.losses)
        return loss, _count_right(logits, labels)


def _count_right(logits: Any, labels: Any) -> Any:
    return tf.reduce_sum(tf.cast(tf.equal(tf.argmax(logits, axis=1), labels), tf.int64))


def _after_step(trainer: _Trainer, at: _Position, checkpoints: Checkpoints, report: Step, epochs: int) -> None:
    report(1, _note(at, epochs))
    checkpoints.check_stop()
    if checkpoints.due():
        _save(trainer, at, checkpoints)


def _validate(trainer: _Trainer, validation: Batches, checkpoints: Checkpoints) -> dict[str, float]:
    """Return loss and accuracy on the held-out images."""
    total, right, images = 0.0, 0, 0
    with closing(validation.epoch(0)) as ready:
        for inputs, labels in ready:
            loss, correct = trainer.evaluate_batch(inputs, labels)
            total, right, images = total + loss * len(labels), right + correct, images + len(labels)
            checkpoints.check_stop()
    return {"val_loss": total / images, "val_accuracy": right / images}


def _note(at: _Position, epochs: int) -> str:
    """Return loss and accuracy of the current epoch so far as text; between two epochs, those of the last epoch."""
    if at.images:
        number, figures = at.epoch + 1, {"loss": at.loss / at.images, "accuracy": at.correct / at.images}
    else:
        number, figures = at.epoch, at.history[-1] if at.history else {}
    parts = [f"{name} {figures[name]:.3f}" for name in ("loss", "accuracy", "val_accuracy") if name in figures]
    return " ".join([f"epoch {max(number, 1)}/{epochs}", *parts])


def _save(trainer: _Trainer, at: _Position, checkpoints: Checkpoints) -> None:
    arrays = {f"{number:05d}": np.asarray(variable) for number, variable in enumerate(trainer.variables())}
    checkpoints.save(arrays, asdict(at))


def _restore(trainer: _Trainer, checkpoints: Checkpoints) -> _Position:
    found = checkpoints.load()
    if found is None:
        return _Position()
    arrays, meta = found
    for number, variable in enumerate(trainer.variables()):
        variable.assign(arrays[f"{number:05d}"])
    return _Position(**meta)
