"""Trains a built model: its head on features, or the whole network on pixels.

The number of epochs is fixed beforehand and the weights of the last epoch are kept. The validation images are evaluated
after each epoch for the curves only and decide nothing, so that the accuracy on them is unbiased. The temperature is
fitted on them afterwards (`trainer.evaluation.calibration`), which changes scores and no label.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from trainer.data.dataset import Dataset
from trainer.data.pixels import augment, open_pixels, variant_in_epoch
from trainer.model.keras_model import compile_network
from trainer.progress import TrainingProgress
from trainer.selection.candidates import compute_features
from trainer.selection.cross_validation import cross_validate
from trainer.selection.linear_head import HeadRecipe, LinearHead, fit_linear
from trainer.selection.selector import IMAGES, ModelSelection, choose_examples, describe_rows
from trainer.settings import TrainSettings
from trainer.storage import FileStore
from trainer.training.checkpoint import Checkpoints
from trainer.training.loop import Augment, Batches, Rows
from trainer.training.loop import fit as train_network


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
    """

    model: Any
    dataset: Dataset
    progress: TrainingProgress
    features: FileStore
    selection: ModelSelection
    checkpoints: Checkpoints
    work: Path | None = None

    @property
    def settings(self) -> TrainSettings:
        """Settings of the training, with what was selected."""
        return self.selection.settings


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """Result of a training besides the weights.

    Attributes:
        history: The loss, accuracy, val_loss and val_accuracy of each epoch; empty for a frozen backbone.
        val_logits: (validation images, classes) float32, logits of the final weights.
        head: How the head was fitted, as text; empty if it was trained with the whole network.
    """

    history: list[dict[str, float]]
    val_logits: npt.NDArray[np.float32]
    head: str = ""


def fit(task: TrainingTask) -> TrainingResult:
    """Train in the mode of the settings; the task's model gets the weights."""
    return fit_frozen(task) if task.settings.frozen else fit_full(task)


def fit_frozen(task: TrainingTask) -> TrainingResult:
    """Run every image once through the frozen backbone and fit the head to the features."""
    model, dataset = task.model, task.dataset
    features = compute_features(
        task.settings, dataset.examples, task.features, task.progress, backbone=model.get_layer("backbone")
    ).values
    head, recipe = _fit_head(task, features)
    model.get_layer("head").set_weights([head.kernel.astype(np.float32), head.bias.astype(np.float32)])
    val_logits = head(features[dataset.rows("val")]).astype(np.float32)
    return TrainingResult(history=[], val_logits=val_logits, head=str(recipe))


def fit_full(task: TrainingTask) -> TrainingResult:
    """Train every layer on pixels; each epoch uses another variant of every image."""
    dataset, settings, progress = task.dataset, task.settings, task.progress
    labels = np.array([example.label for example in dataset.examples], np.int64)
    # This model wraps the same layers, so that the saved model carries no optimizer.
    model = keras.Model(task.model.input, task.model.get_layer("head").output)
    with open_pixels(dataset.examples, settings.recipe(), progress, folder=task.work) as pixels:
        held_out = Batches(pixels, labels, dataset.rows("val"), settings, shuffle=False)
        history = train_network(
            model,
            Batches(pixels, labels, dataset.rows("train"), settings, shuffle=True, augment=_build_augment(task)),
            settings,
            progress,
            validation=held_out,
            checkpoints=task.checkpoints,
            class_weight=dataset.class_weights(),
        )
        network, outputs = compile_network(model), []
        with progress.phase("Validation", len(dataset.rows("val"))) as step, closing(held_out.epoch(0)) as inputs:
            for images, _ in inputs:
                outputs.append(network(images))
                step(len(images))
    return TrainingResult(history=history, val_logits=np.concatenate(outputs))


def _fit_head(task: TrainingTask, features: npt.NDArray[np.float32]) -> tuple[LinearHead, HeadRecipe]:
    """Choose how the head is fitted by cross-validation, and fit it to the features of all training images.

    The problem is convex and is solved in a second. `features`: (images, features), a row for each image.
    """
    dataset, train = task.dataset, task.dataset.rows("train")
    row_of = {example.digest: row for row, example in enumerate(dataset.examples)}
    with task.progress.phase("Fitting the head", 1) as step:
        examples = choose_examples(dataset.examples, IMAGES)
        inside = features[[row_of[example.digest] for example in examples]]
        best = cross_validate(inside, describe_rows(dataset, examples))
        rows = describe_rows(dataset, [dataset.examples[row] for row in train])
        linear = fit_linear(best.recipe, features[train], rows)
        step()
    return linear.divide(best.divisor), best.recipe


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
