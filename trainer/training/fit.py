"""Trains a built model on decoded pixels: its head or the whole network.

The number of epochs is fixed beforehand and the weights of the last epoch are kept. The validation images are evaluated
after each epoch for the curves only and decide nothing, so that the accuracy on them is unbiased. The temperature is
fitted on them afterwards (`trainer.evaluation.temperature`), which changes scores and no label.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from trainer.data.augmentation import Augmentation, variant_in_epoch
from trainer.selection.cross_validation import cross_validate, list_recipes
from trainer.selection.linear_head import HeadRecipe, LinearHead, fit_linear
from trainer.selection.selector import IMAGES, choose_examples, describe_rows
from trainer.training import loop
from trainer.training.training_task import TrainingResult, TrainingTask


def fit(task: TrainingTask) -> TrainingResult:
    """Train in the mode of the settings; the task's model gets the weights."""
    return fit_frozen(task) if task.settings.frozen else fit_full(task)


def fit_frozen(task: TrainingTask) -> TrainingResult:
    """Run every image once through the frozen backbone and fit the head to the features."""
    model, decoded = task.model, task.decoded
    backbone = model.get_layer("backbone")
    trunk = keras.Model(model.input, backbone(model.get_layer("scaling").output))
    features = np.empty((len(decoded.labels), *trunk.output_shape[1:]), np.float32)
    task.cache().compute(
        trunk,
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
        class_weight=task.class_weight,
    )
    return TrainingResult(history=history, val_logits=task.validate())


def _fit_head(task: TrainingTask, features: npt.NDArray[np.float32]) -> tuple[LinearHead, HeadRecipe]:
    """Choose how the head is fitted by cross-validation, and fit it to the features of all training images.

    The problem is convex and is solved in a second. `features`: (images, features), a row for each decoded image.
    """
    dataset, train = task.decoded.dataset, task.decoded.rows("train")
    recipes, divisor = list_recipes(task.settings.head_l2), 1.0
    with task.progress.phase("Fitting the head", 1) as step:
        if len(recipes) > 1:
            row_of = {example.digest: row for row, example in enumerate(dataset.examples)}
            examples = choose_examples(dataset.examples, IMAGES)
            inside = features[[row_of[example.digest] for example in examples]]
            answers = cross_validate(inside, describe_rows(dataset, examples), recipes)
            recipes, divisor = (answers.recipe,), answers.divisor
        rows = describe_rows(dataset, [dataset.examples[row] for row in train])
        linear = fit_linear(recipes[0], features[train], rows.labels, rows.classes, rows.weights)
        step()
    return linear.divide(divisor), recipes[0]


def _build_augment(task: TrainingTask) -> loop.Augment | None:
    """Return the function that makes an epoch's variants of the training images; None if they are not augmented."""
    settings, digests = task.settings, task.digests()
    if not settings.augment:
        return None
    augmentation = Augmentation(mirror=settings.mirror, seed=settings.seed)

    def augment(images: npt.NDArray[Any], rows: loop.Rows, epoch: int) -> npt.NDArray[Any]:
        named = [digests[row] for row in rows]
        return np.stack(
            [
                augmentation.apply(image, digest, variant_in_epoch(digest, epoch))
                for image, digest in zip(images, named, strict=True)
            ]
        )

    return augment
