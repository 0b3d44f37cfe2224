"""The training loop: batches in, a trained model out, and back to the exact step after a kill.

The order of an epoch and what is done to its images are pure functions of (seed, epoch), so a checkpoint needs only
numbers: every variable (weights, optimizer, random states), the epoch, the step in it and the sums behind its curves.
Resumed, a training ends with the same weights as one that was never stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from eaves.errors import StoppedError
from trainer.data.pixels import NetworkInputs
from trainer.progress import Step, TrainingProgress
from trainer.settings import TrainSettings
from trainer.training.checkpoint import Checkpoints
from trainer.training.stuck import StuckWatch

Rows = npt.NDArray[np.int64]
Augment = Callable[[npt.NDArray[Any], Rows, int], npt.NDArray[Any]]
"""`augment(inputs, rows, epoch)`: the batch's inputs, changed; a pure function of its arguments."""

AHEAD = 2
"""Batches made by another thread while the network works on one."""


class Batches:
    """Rows of an array, or of what is read like one, batch by batch.

    Args:
        inputs: (N, ...) what the model takes, of every example.
        labels: (N,) int64.
        rows: Those used.
        settings: Gives the size of a batch and the seed.
        shuffle: Anew in each epoch; the order is a pure function of (seed, epoch).
        augment: Applied to each batch.
    """

    def __init__(
        self,
        inputs: NetworkInputs,
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
        """Steps of an epoch."""
        return math.ceil(len(self._rows) / self._size)

    def epoch(self, number: int, first: int = 0) -> Iterator[tuple[npt.NDArray[Any], Rows]]:
        """(inputs, labels) of one epoch's batches from step `first` on."""
        rows = np.random.default_rng((self._seed, number)).permutation(self._rows) if self._shuffle else self._rows
        for step in range(first, len(self)):
            chosen = rows[step * self._size : (step + 1) * self._size]
            inputs = self._inputs[chosen]
            yield (inputs if self._augment is None else self._augment(inputs, chosen, number)), self._labels[chosen]


@dataclass(slots=True, kw_only=True)
class _Position:
    """Where a training is, between two steps.

    Attributes:
        epoch: Epochs done.
        step: Steps done of the next one.
        loss: Sum over the images of those steps.
        correct: Number of images of those steps that were told right.
        images: Their number.
        history: Per epoch done: loss, accuracy, val_loss, val_accuracy.
    """

    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    correct: int = 0
    images: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


def fit(
    model: Any,
    batches: Batches,
    settings: TrainSettings,
    progress: TrainingProgress,
    *,
    validation: Batches | None,
    stage: str,
    checkpoints: Checkpoints | None,
    class_weight: dict[int, float] | None = None,
    schedule: tuple[int, float] | None = None,
    watch: StuckWatch | None = None,
) -> list[dict[str, float]]:
    """Train a model, from where an earlier process left off when it left a checkpoint of this stage.

    Args:
        model: Inputs > (N, classes) logits. Its trainable variables are trained; its `losses` are added.
        batches: To train on.
        settings: Gives the schedule.
        progress: Told about every step.
        validation: Looked at after each epoch, for the curves; decides nothing.
        stage: Name of this part of a training (`head`, `finetune`, `full`); its checkpoints are kept apart. A stage
            that was finished returns at once, with its last weights.
        checkpoints: Where to leave and look for them, and whether to stop; None: neither.
        class_weight: Label to the weight of its images in the loss; None: all 1.
        schedule: (epochs, peak learning rate); None: the settings'.
        watch: Looks at every epoch of this process and ends a training that learns nothing; None: none does.

    Returns:
        history: Per epoch: loss, accuracy, val_loss, val_accuracy.

    Raises:
        StoppedError: Asked to stop; a checkpoint of the last step is written.
        StuckTrainingError: The watch ends the training.
    """
    epochs, rate = schedule or settings.schedule()
    trainer = _Trainer(model, keras.optimizers.schedules.CosineDecay(rate, epochs * len(batches)), class_weight)
    at = _restore(trainer, stage, checkpoints)
    with progress.phase("Training", epochs * len(batches)) as report:
        try:
            report(at.epoch * len(batches) + at.step, _note(at, epochs))
            while at.epoch < epochs:
                _train_epoch(trainer, batches, at, lambda: _after_step(trainer, at, stage, checkpoints, report, epochs))
                measured, answers = {"loss": at.loss / at.images, "accuracy": at.correct / at.images}, frozenset[int]()
                if validation is not None:
                    figures, answers = _validate(trainer, validation, checkpoints)
                    measured |= figures
                at.history.append(measured)
                at.epoch, at.step, at.loss, at.correct, at.images = at.epoch + 1, 0, 0.0, 0, 0
                report(0, _note(at, epochs))
                if watch is not None and validation is not None:
                    watch.add(measured["loss"], answers)
        except StoppedError:
            _save(trainer, at, stage, checkpoints)
            raise
    _save(trainer, at, stage, checkpoints)
    return at.history


class _Trainer:
    """A model, its optimizer and the compiled steps."""

    def __init__(self, model: Any, rate: Any, class_weight: dict[int, float] | None) -> None:
        optimizer = keras.optimizers.Adam(rate)
        if keras.mixed_precision.dtype_policy().compute_dtype == "float16":
            # Source: keras/src/trainers/trainer.py, compile: `auto_scale_loss`.
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        optimizer.build(model.trainable_variables)
        self._model, self._optimizer, self._weights = model, optimizer, class_weight
        inputs = tf.TensorSpec((None, *model.input_shape[1:]), model.inputs[0].dtype)
        labels, weights = tf.TensorSpec((None,), tf.int64), tf.TensorSpec((None,), tf.float32)
        self._step = tf.function(self._graph_step, input_signature=[inputs, labels, weights])
        self._look = tf.function(self._graph_look, input_signature=[inputs, labels])

    def step(self, inputs: npt.NDArray[Any], labels: Rows) -> tuple[float, int]:
        """Train on one batch: (mean loss, number right)."""
        table = self._weights or {}
        weights = np.array([table.get(int(label), 1.0) for label in labels], dtype=np.float32)
        loss, correct = self._step(inputs, labels, weights)
        return float(loss), int(correct)

    def evaluate_batch(self, inputs: npt.NDArray[Any], labels: Rows) -> tuple[float, int, set[int]]:
        """(mean loss, number right, classes answered) of one batch, nothing trained."""
        loss, correct, answers = self._look(inputs, labels)
        return float(loss), int(correct), set(np.asarray(answers).tolist())

    def variables(self) -> list[Any]:
        """Everything that changes while training, always in the same order."""
        return [*self._model.variables, *self._optimizer.variables]

    def _graph_step(self, inputs: Any, labels: Any, weights: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            logits = tf.cast(self._model(inputs, training=True), tf.float32)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses * weights) + sum(self._model.losses)
            scaled = self._optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, [variable.value for variable in self._model.trainable_variables])
        self._optimizer.apply(gradients, self._model.trainable_variables)
        return loss, _count_right(logits, labels)

    def _graph_look(self, inputs: Any, labels: Any) -> tuple[Any, Any, Any]:
        logits = tf.cast(self._model(inputs, training=False), tf.float32)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        loss = tf.reduce_mean(losses) + sum(self._model.losses)
        return loss, _count_right(logits, labels), tf.argmax(logits, axis=1)


def _count_right(logits: Any, labels: Any) -> Any:
    return tf.reduce_sum(tf.cast(tf.equal(tf.argmax(logits, axis=1), labels), tf.int64))


def _train_epoch(trainer: _Trainer, batches: Batches, at: _Position, after_step: Callable[[], None]) -> None:
    with closing(_ahead(batches.epoch(at.epoch, at.step))) as ready:
        for inputs, labels in ready:
            loss, correct = trainer.step(inputs, labels)
            at.step += 1
            at.loss, at.correct, at.images = at.loss + loss * len(labels), at.correct + correct, at.images + len(labels)
            after_step()


def _after_step(
    trainer: _Trainer, at: _Position, stage: str, checkpoints: Checkpoints | None, report: Step, epochs: int
) -> None:
    report(1, _note(at, epochs))
    if checkpoints is not None:
        checkpoints.check_stop()
        if checkpoints.due():
            _save(trainer, at, stage, checkpoints)


def _validate(
    trainer: _Trainer, validation: Batches, checkpoints: Checkpoints | None
) -> tuple[dict[str, float], frozenset[int]]:
    """The figures of the held-out images, and every class that was answered to one of them."""
    total, right, images, answered = 0.0, 0, 0, set[int]()
    with closing(_ahead(validation.epoch(0))) as ready:
        for inputs, labels in ready:
            loss, correct, answers = trainer.evaluate_batch(inputs, labels)
            answered |= answers
            total, right, images = total + loss * len(labels), right + correct, images + len(labels)
            if checkpoints is not None:
                checkpoints.check_stop()
    return {"val_loss": total / images, "val_accuracy": right / images}, frozenset(answered)


def _ahead(batches: Iterator[Any]) -> Generator[Any, None, None]:
    """The same, the next `AHEAD` of them made by another thread meanwhile."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting = [pool.submit(next, batches, None) for _ in range(AHEAD)]
        while (batch := waiting.pop(0).result()) is not None:
            waiting.append(pool.submit(next, batches, None))
            yield batch


def _note(at: _Position, epochs: int) -> str:
    """The figures of the epoch at hand, over its images so far; between two epochs those of the one just done."""
    if at.images:
        number, figures = at.epoch + 1, {"loss": at.loss / at.images, "accuracy": at.correct / at.images}
    else:
        number, figures = at.epoch, at.history[-1] if at.history else {}
    told = [f"{name} {figures[name]:.3f}" for name in ("loss", "accuracy", "val_accuracy") if name in figures]
    return " ".join([f"epoch {max(number, 1)}/{epochs}", *told])


def _save(trainer: _Trainer, at: _Position, stage: str, checkpoints: Checkpoints | None) -> None:
    if checkpoints is not None:
        arrays = {f"{number:05d}": np.asarray(variable) for number, variable in enumerate(trainer.variables())}
        checkpoints.save(stage, arrays, asdict(at))


def _restore(trainer: _Trainer, stage: str, checkpoints: Checkpoints | None) -> _Position:
    found = checkpoints.load(stage) if checkpoints is not None else None
    if found is None:
        return _Position()
    for number, variable in enumerate(trainer.variables()):
        variable.assign(found.arrays[f"{number:05d}"])
    return _Position(**found.meta)
