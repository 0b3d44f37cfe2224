"""Trains a built model on decoded pixels: its head or the whole network.

The number of epochs is fixed beforehand and the weights of the last epoch are kept. The validation images are evaluated
after each epoch for the curves only and decide nothing, so that the accuracy on them is unbiased. The temperature is
fitted on them afterwards (`trainer.evaluation.calibration`), which changes scores and no label.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from trainer.data.augmentation import augment, variant_in_epoch
from trainer.data.pixels import DecodedDataset
from trainer.feature_cache import FeatureCache, cache_key
from trainer.model.keras_model import compile_network
from trainer.prefetch import prefetch
from trainer.progress import TrainingProgress
from trainer.selection.cross_validation import cross_validate
from trainer.selection.linear_head import HeadRecipe, LinearHead, fit_linear
from trainer.selection.selector import IMAGES, ModelSelection, choose_examples, describe_rows
from trainer.settings import TrainSettings
from trainer.storage import FileStore
from trainer.training import loop
from trainer.training.checkpoint import Checkpoints


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTask:
    """A model to train, with its data and settings.

    Attributes:
        model: Result of `build_model`.
        backbone_sha256: Digest of the backbone's weights before training.
        decoded: The decoded images.
        progress: Receives the phases of the training and their steps.
        features: Storage of cached features.
        selection: What was selected for the training: its settings, and why.
        checkpoints: Checkpoints to resume from and to write.
    """

    model: Any
    backbone_sha256: str
    decoded: DecodedDataset
    progress: TrainingProgress
    features: FileStore
    selection: ModelSelection
    checkpoints: Checkpoints

    @property
    def settings(self) -> TrainSettings:
        """Settings of the training, with what was selected."""
        return self.selection.settings

    def cache(self) -> FeatureCache:
        """Return the cache of the frozen backbone's features."""
        recipe, scale = self.settings.recipe().digest(), self.settings.own_scale.name
        return FeatureCache(self.features, cache_key(recipe=recipe, scale=scale, backbone=self.backbone_sha256))

    def digests(self) -> list[str]:
        """Return the sha256 of each image, in the order of the rows."""
        return [example.digest for example in self.decoded.dataset.examples]

    def validate(self) -> npt.NDArray[np.float32]:
        """Return the logits of the whole model, as it is saved, for the held-out images: (images, classes)."""
        rows, size, outputs = self.decoded.rows("val"), self.settings.batch_size, []
        network = compile_network(keras.Model(self.model.input, self.model.get_layer("head").output))
        batches = [rows[start : start + size] for start in range(0, len(rows), size)]
        with (
            self.progress.phase("Validation", len(rows)) as step,
            closing(prefetch(lambda batch: self.decoded.pixels[batch], batches)) as inputs,
        ):
            for images in inputs:
                outputs.append(network(images))
                step(len(images))
        return np.concatenate(outputs)


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
    model, decoded = task.model, task.decoded
    trunk = keras.Model(model.input, model.get_layer("backbone")(model.get_layer("scaling").output))
    features = np.empty((len(decoded.labels), *trunk.output_shape[1:]), np.float32)
    task.cache().compute(
        compile_network(trunk),
        lambda rows: decoded.pixels[rows],
        task.digests(),
        features,
        batch_size=task.settings.batch_size,
        progress=task.progress,
        title="Backbone pass",
    )
    head, recipe = _fit_head(task, features)
    model.get_layer("head").set_weights([head.kernel.astype(np.float32), head.bias.astype(np.float32)])
    val_logits = head(features[decoded.rows("val")]).astype(np.float32)
    return TrainingResult(history=[], val_logits=val_logits, head=str(recipe))


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
        checkpoints=task.checkpoints,
        class_weight=decoded.dataset.class_weights(),
    )
    return TrainingResult(history=history, val_logits=task.validate())


def _fit_head(task: TrainingTask, features: npt.NDArray[np.float32]) -> tuple[LinearHead, HeadRecipe]:
    """Choose how the head is fitted by cross-validation, and fit it to the features of all training images.

    The problem is convex and is solved in a second. `features`: (images, features), a row for each decoded image.
    """
    dataset, train = task.decoded.dataset, task.decoded.rows("train")
    row_of = {example.digest: row for row, example in enumerate(dataset.examples)}
    with task.progress.phase("Fitting the head", 1) as step:
        examples = choose_examples(dataset.examples, IMAGES)
        inside = features[[row_of[example.digest] for example in examples]]
        best = cross_validate(inside, describe_rows(dataset, examples))
        rows = describe_rows(dataset, [dataset.examples[row] for row in train])
        linear = fit_linear(best.recipe, features[train], rows)
        step()
    return linear.divide(best.divisor), best.recipe


def _build_augment(task: TrainingTask) -> loop.Augment | None:
    """Return the function that makes an epoch's variants of the training images; None if they are not augmented."""
    settings, digests = task.settings, task.digests()
    if not settings.augment:
        return None

    def vary(images: npt.NDArray[Any], rows: loop.Rows, epoch: int) -> npt.NDArray[Any]:
        made = []
        for image, row in zip(images, rows, strict=True):
            variant = variant_in_epoch(digests[row], epoch)
            made.append(augment(image, digests[row], variant, seed=settings.seed, mirror=settings.mirror))
        return np.stack(made)

    return vary
