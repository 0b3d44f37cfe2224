"""Fits the linear head on fixed features; the problem is convex and is solved in a second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from trainer.selection.cross_validation import cross_validate, list_recipes
from trainer.selection.linear_head import HeadRecipe, LinearHead, fit_linear
from trainer.selection.selector import IMAGES, choose_examples, describe_rows
from trainer.training.training_task import TrainingTask

FINETUNED_L2 = 20.0
"""L2 penalty of a fine-tuned head, divided by the number of training images, if `train.head_l2` names none."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A fitted head.

    Attributes:
        linear: The head on unscaled features.
        recipe: How it was fitted.
        mean: Mean of the training images' features, (features,) float32.
        scale: Standard deviation of all the training images' features together.
    """

    linear: LinearHead
    recipe: HeadRecipe
    mean: Floats
    scale: float

    def fold_into(self, layer: Any) -> None:
        """Set the weights of a Dense layer on unscaled features so that it gives the same logits."""
        layer.set_weights([self.linear.kernel.astype(np.float32), self.linear.bias.astype(np.float32)])


def fit_head(task: TrainingTask, features: Floats) -> Head:
    """Fit the head of a task's model: the recipe is chosen by cross-validation, and fitted to all training images.

    Args:
        task: Training task.
        features: (images, features) float32, one row for each decoded image.
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
        chosen = features[train]
        linear = fit_linear(recipes[0], chosen, rows.labels, rows.classes, rows.weights)
        step()
    return Head(
        linear=linear.divide(divisor),
        recipe=recipes[0],
        mean=chosen.mean(axis=0),
        scale=float(chosen.std(dtype=np.float64)) or 1.0,
    )


class TrainableHead:
    """A head whose weights can be trained further, on features that are centred and scaled by one number.

    The optimizer then sees features of unit variance.

    Args:
        head: The head to begin with.
        images: Number of training images.
        l2: L2 penalty divided by the number of training images; 0 means `FINETUNED_L2`.
    """

    def __init__(self, head: Head, *, images: int, l2: float) -> None:
        self._mean, self._scale = head.mean, head.scale
        classes = len(head.linear.bias)
        penalty = keras.regularizers.L2((l2 or FINETUNED_L2) / (2 * images))
        self._dense = keras.layers.Dense(classes, kernel_regularizer=penalty)
        self._dense.build((None, len(head.mean)))
        kernel, bias = head.linear.kernel, head.linear.bias
        self._dense.set_weights([kernel * head.scale, bias + head.mean @ kernel])

    def __call__(self, features: Any) -> Any:
        """Return the logits of a tensor of features."""
        return self._dense((features - self._mean) / np.float32(self._scale))

    def fold_into(self, layer: Any) -> None:
        """Set the weights of a Dense layer on unscaled features so that it gives the same logits."""
        kernel, bias = (np.asarray(values, np.float64) for values in self._dense.get_weights())
        kernel /= self._scale
        layer.set_weights([kernel.astype(np.float32), (bias - self._mean @ kernel).astype(np.float32)])
