"""Trains a built model: its head on features, or the whole network on pixels.

The number of epochs is fixed beforehand and the weights of the last epoch are kept. The validation images are evaluated
after each epoch for the curves only and decide nothing, so that the accuracy on them is unbiased. The temperature is
fitted on them afterwards (`trainer.calibration`), which changes scores and no label.

The order of an epoch and the variants of its images are pure functions of (seed, epoch). So a checkpoint holds only
numbers: every variable (weights, optimizer, random states), the epoch, the step in it and the sums of its curves. A
resumed training ends with the same weights as one that was never stopped.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from threadpoolctl import threadpool_limits

from eaves.artifact.manifest import ANOMALY, GAUSSIAN, NORMAL, PATCHES
from eaves.errors import StoppedError
from trainer.calibration import likelihoods
from trainer.data.dataset import Dataset
from trainer.data.drawn_defects import draw_defects
from trainer.data.listing import DRAWN, LabelledImage
from trainer.data.pixels import PixelRows, augment, open_pixels, variant_in_epoch
from trainer.model.anomaly import (
    FittedAnomaly,
    bound_alarms,
    choose_method,
    cross_score,
    describe_anomalies,
    fit_scorer,
    set_threshold,
)
from trainer.model.candidates import compute_features, cross_validate
from trainer.model.checkpoint import Checkpoints
from trainer.model.feature_cache import Network, prefetch
from trainer.model.feature_sums import STRENGTHS, FeatureSums, SumsOrigin
from trainer.model.kept_sums import KeptSums, load_kept_sums, update_sums
from trainer.model.keras_model import build_anomaly_model, compile_network, weights_digest
from trainer.model.linear_head import HeadRecipe, fit_divisor, fit_linear
from trainer.model.selector import MAX_COMPARED_IMAGES, ModelSelection, choose_examples, describe_rows
from trainer.model.sum_parts import SumParts
from trainer.progress import TrainingProgress
from trainer.settings import TrainSettings
from trainer.storage import FileStore

_log = logging.getLogger(__name__)

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTask:
    """A model to train, with its data and settings.

    Attributes:
        model: Result of `build_model`.
        dataset: The images, all of which can be decoded.
        progress: Receives the phases of the training and their steps.
        features: Storage of cached features.
        selection: What was selected for the training: its settings, and why.
        checkpoints: Checkpoints to resume from and to write.
        work: Folder for a temporary file of pixels; None means the system's.
        previous: Directory or URI of the newest run on the same data, whose sums are used; empty for none.
        parts: Pods that share the images; None for one pod.
    """

    model: Any
    dataset: Dataset
    progress: TrainingProgress
    features: FileStore
    selection: ModelSelection
    checkpoints: Checkpoints
    work: Path | None = None
    previous: str = ""
    parts: SumParts | None = None

    @property
    def settings(self) -> TrainSettings:
        """Settings of the training, with what was selected."""
        return self.selection.settings

    @property
    def backbone(self) -> Any:
        """The frozen network that gives features."""
        return self.model if self.settings.task == ANOMALY else self.model.get_layer("backbone")

    @property
    def origin(self) -> SumsOrigin:
        """What the features are computed by."""
        settings, backbone = self.settings, weights_digest(self.backbone)
        return SumsOrigin(recipe=settings.recipe().digest(), backbone=backbone, scale=settings.own_scale.name)

    def compute(self, examples: Sequence[LabelledImage]) -> npt.NDArray[np.float32]:
        """Return the features of images."""
        return compute_features(self.settings, examples, self.features, self.progress, backbone=self.backbone).values


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """Result of a training besides the weights.

    Attributes:
        history: The loss, accuracy, val_loss and val_accuracy of each epoch; empty for a frozen backbone.
        val_logits: (validation images, classes) float32, logits of the final weights.
        head: How the head was fitted, as text; empty if it was trained with the whole network.
        files: Content of further files of the run, by their names.
        model: The trained model; None if it is the task's.
        figures: What metrics.json says of a model of the task anomaly, as plain data.
        crossed: Class, answer and group of each image in cross-validation, where that judges the model; else None.
    """

    history: list[dict[str, float]]
    val_logits: npt.NDArray[np.float32]
    head: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    model: Any = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    crossed: tuple[Rows, Rows, list[str]] | None = None


def fit(task: TrainingTask) -> TrainingResult:
    """Train in the mode of the settings; the task's model gets the weights."""
    if task.settings.task == ANOMALY:
        return fit_anomaly(task)
    if task.settings.resolved_mode == "sums":
        return fit_from_sums(task)
    return fit_frozen(task) if task.settings.frozen else fit_full(task)


def fit_frozen(task: TrainingTask) -> TrainingResult:
    """Run every image once through the frozen backbone, and fit the head to the features of the training images.

    Cross-validation on some of them chooses how the head is fitted; the problem is convex and is solved in a second.
    """
    model, dataset = task.model, task.dataset
    features = task.compute(dataset.examples)
    row_of = {example.digest: row for row, example in enumerate(dataset.examples)}
    with task.progress.phase("Fitting the head", 1) as step:
        chosen = choose_examples(dataset.examples, MAX_COMPARED_IMAGES)
        best = cross_validate(features[[row_of[example.digest] for example in chosen]], describe_rows(dataset, chosen))
        rows = describe_rows(dataset, dataset.on("train"))
        head = fit_linear(best.recipe, features[dataset.rows("train")], rows).divide(best.divisor)
        step()
    model.get_layer("head").set_weights([head.kernel.astype(np.float32), head.bias.astype(np.float32)])
    val_logits = head(features[dataset.rows("val")]).astype(np.float32)
    return TrainingResult(history=[], val_logits=val_logits, head=str(best.recipe))


def fit_from_sums(task: TrainingTask) -> TrainingResult:
    """Solve a ridge head from sums over the training images' features; see `trainer.model.kept_sums`.

    Its strength is chosen from the sums alone, so that the result doesn't depend on where or when they were made. The
    held-out images choose the scale of the scores, which changes no label.
    """
    dataset = task.dataset
    kept = _update_sums(task)
    weights = dataset.class_weights()
    strength, head = kept.sums.solve(STRENGTHS, np.array([weights[row] for row in range(len(dataset.labels))]))
    held_out = dataset.on("val")
    scores = head(task.compute(held_out))
    head = head.divide(divisor := fit_divisor(scores, dataset.truth(held_out)))
    task.model.get_layer("head").set_weights([head.kernel.astype(np.float32), head.bias.astype(np.float32)])
    text = str(HeadRecipe(kind="ridge", strength=strength))
    return TrainingResult(
        history=[], val_logits=(scores / divisor).astype(np.float32), head=f"{text}, from sums", files=kept.files()
    )


def _update_sums(task: TrainingTask) -> KeptSums:
    """Return the sums over the training images' features, those of an earlier run updated."""
    return update_sums(load_kept_sums(task.previous), task.dataset, task.origin, task.compute, task.parts)


def fit_anomaly(task: TrainingTask) -> TrainingResult:
    """Fit a method to the good images; drawn defects choose it, and held-out good images its threshold.

    With too few held-out groups for the wanted promise, the scores of cross-validation choose the threshold, and
    nothing is promised.
    """
    dataset, settings, compute = task.dataset, task.settings, task.compute
    kept = _update_sums(task)
    compared = choose_examples(dataset.examples, MAX_COMPARED_IMAGES)
    rows = describe_rows(dataset, compared)
    good = compute(compared)
    with TemporaryDirectory(dir=task.work) as folder:
        drawn = compute(draw_defects(compared, settings.recipe(), Path(folder) / DRAWN))
    with task.progress.phase("Comparing methods", 1) as step, threadpool_limits(1, user_api="blas"):
        sums = FeatureSums.of(good, rows.labels, dataset.labels, kept.sums.origin)
        methods = (GAUSSIAN, PATCHES) if settings.method == "auto" else (settings.method,)
        crossed = [cross_score(method, good, drawn, rows.folds(), rows.groups, sums) for method in methods]
        chosen = choose_method(crossed)
        scorer = fit_scorer(chosen.method, kept.sums, good)
        step()
    held_out = dataset.on("val")
    scores = scorer.score(compute(held_out)).max(axis=1)
    is_unlike = np.array([example.digest not in dataset.lookalikes for example in held_out], np.bool_)
    normal = is_unlike & (dataset.truth(held_out) == 0)
    groups = [example.group_name for example in dataset.unseen() if example.label == NORMAL]
    unseen = bound_alarms(0, len(set(groups))) <= settings.false_alarms
    known, calibrated = (
        (scores[normal], groups) if unseen else (np.concatenate([chosen.good, scores[normal]]), [*rows.groups, *groups])
    )
    rule = set_threshold(
        known, calibrated, false_alarms=settings.false_alarms, unseen=unseen, good=settings.good, method=chosen.method
    )
    figures = describe_anomalies(rule, crossed, sums, dataset.unseen(), scores[is_unlike])
    fitted = FittedAnomaly(scorer=scorer, rule=rule)
    truth, answers = np.repeat(np.arange(2), len(compared)), np.concatenate([chosen.good, chosen.drawn])
    _log.info("%s", rule.promise())
    return TrainingResult(
        history=[],
        val_logits=fitted.logits(scores),
        head=f"{chosen.method} of {good.shape[-1]} features at {good.shape[1]}x{good.shape[2]} positions",
        files=kept.files(),
        model=build_anomaly_model(settings, task.model, fitted),
        figures=figures,
        crossed=None if unseen else (truth, (answers > rule.threshold).astype(np.int64), [*rows.groups, *rows.groups]),
    )


def fit_full(task: TrainingTask) -> TrainingResult:
    """Train every layer on pixels; each epoch uses another variant of every image."""
    dataset, settings, progress = task.dataset, task.settings, task.progress
    labels = dataset.truth(dataset.examples)
    # This model wraps the same layers, so that the saved model carries no optimizer.
    model = keras.Model(task.model.input, task.model.get_layer("head").output)
    with open_pixels(dataset.examples, settings.recipe(), progress, folder=task.work) as pixels:
        history, val_logits = _train(
            model,
            Batches(pixels, labels, dataset.rows("train"), settings, shuffle=True, augment=_build_augment(task)),
            settings,
            progress,
            validation=Batches(pixels, labels, dataset.rows("val"), settings, shuffle=False),
            checkpoints=task.checkpoints,
            class_weight=dataset.class_weights(),
        )
    return TrainingResult(history=history, val_logits=val_logits)


def _build_augment(task: TrainingTask) -> Augment | None:
    """Return the function that makes an epoch's variants of the training images; None if they are not augmented."""
    settings, digests = task.settings, [example.digest for example in task.dataset.examples]
    if not settings.augment:
        return None

    def vary(images: npt.NDArray[Any], rows: Rows, epoch: int) -> npt.NDArray[Any]:
        made = []
        for image, row in zip(images, rows, strict=True):
            variant = variant_in_epoch(digests[row], epoch)
            made.append(augment(image, digests[row], variant, seed=settings.seed, mirror=settings.mirror))
        return np.stack(made)

    return vary


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

    @property
    def labels(self) -> Rows:
        """(N,) index of the class of each image that is used, in their order without `shuffle`."""
        return self._labels[self._rows]

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


def _train(
    model: Any,
    batches: Batches,
    settings: TrainSettings,
    progress: TrainingProgress,
    *,
    validation: Batches,
    checkpoints: Checkpoints,
    class_weight: Mapping[int, float],
) -> tuple[list[dict[str, float]], npt.NDArray[np.float32]]:
    """Train a model, from inputs to logits; resume from the last checkpoint if there is one.

    The images of `validation` are evaluated after each epoch for the curves; they decide nothing.

    Returns:
        history: The loss, accuracy, val_loss and val_accuracy of each epoch.
        logits: (validation images, classes) logits of the final weights.

    Raises:
        StoppedError: The process is asked to stop; a checkpoint of the last step is written.
    """
    epochs, rate = settings.schedule()
    trainer = _Trainer(model, keras.optimizers.schedules.CosineDecay(rate, epochs * len(batches)), class_weight)
    at, network, logits = _restore(trainer, checkpoints), compile_network(model), None
    with progress.phase("Training", epochs * len(batches)) as report:
        try:
            report(at.epoch * len(batches) + at.step, _note(at, epochs))
            while at.epoch < epochs:
                with closing(batches.epoch(at.epoch, at.step)) as ready:
                    for inputs, labels in ready:
                        loss, correct = trainer.step(inputs, labels)
                        at.step, at.images, at.correct = at.step + 1, at.images + len(labels), at.correct + correct
                        at.loss += loss * len(labels)
                        report(1, _note(at, epochs))
                        checkpoints.check_stop()
                        if checkpoints.due():
                            _save(trainer, at, checkpoints)
                measured = {"loss": at.loss / at.images, "accuracy": at.correct / at.images}
                logits = _validate(network, validation, checkpoints)
                right = float(np.mean(logits.argmax(axis=1) == validation.labels))
                measured |= {"val_loss": float(likelihoods(logits, validation.labels).mean()), "val_accuracy": right}
                at.history.append(measured)
                at.epoch, at.step, at.loss, at.correct, at.images = at.epoch + 1, 0, 0.0, 0, 0
                report(0, _note(at, epochs))
        except StoppedError:
            _save(trainer, at, checkpoints)
            raise
    _save(trainer, at, checkpoints)
    return at.history, _validate(network, validation, checkpoints) if logits is None else logits


class _Trainer:
    """Holds a model, its optimizer, and the compiled functions that train and evaluate on one batch."""

    def __init__(self, model: Any, rate: Any, class_weight: Mapping[int, float]) -> None:
        self._model, self._optimizer, self._weights = model, keras.optimizers.Adam(rate), class_weight
        self._optimizer.build(model.trainable_variables)
        inputs = tf.TensorSpec((None, *model.input_shape[1:]), model.inputs[0].dtype)
        labels, weights = tf.TensorSpec((None,), tf.int64), tf.TensorSpec((None,), tf.float32)
        self._step = tf.function(self._graph_step, input_signature=[inputs, labels, weights])

    def step(self, inputs: npt.NDArray[Any], labels: Rows) -> tuple[float, int]:
        """Train on one batch and return (mean loss, number of right answers)."""
        weights = np.array([self._weights[int(label)] for label in labels], dtype=np.float32)
        loss, correct = self._step(inputs, labels, weights)
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
        return loss, tf.reduce_sum(tf.cast(tf.equal(tf.argmax(logits, axis=1), labels), tf.int64))


def _validate(network: Network, validation: Batches, checkpoints: Checkpoints) -> npt.NDArray[np.float32]:
    """Return the logits of the held-out images, (images, classes)."""
    outputs = []
    with closing(validation.epoch(0)) as ready:
        for inputs, _ in ready:
            outputs.append(network(inputs))
            checkpoints.check_stop()
    return np.concatenate(outputs)


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
