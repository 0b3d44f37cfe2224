"""The decision rule: what turns a classifier's scores into the label that an image gets.

The graph's `probabilities` are the scores: each says how often that class is the truth among images with that score.
The label need not have the highest score. Where classes were weighted in training, so that rare ones are found, the
scores are corrected to the classes' shares among the training images, and the rule's weights undo that for the label.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eaves.config import setting

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRule:
    """The rule that chooses an image's label from its scores: the largest product of score and label weight."""

    label_weights: tuple[float, ...] = setting(
        (),
        "Weight of each label, in the order of `labels`, above 0; the label of an image has the largest product of "
        "score and weight. Empty: the label has the highest score.",
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield the path and message of each weight that is not above 0."""
        for index, weight in enumerate(self.label_weights):
            if weight <= 0:
                yield f"label_weights[{index}]", f"must be > 0 (got {weight})"

    def weigh(self, probabilities: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the numbers, (..., labels), of which the largest decides, for scores of the same shape."""
        return probabilities * self.label_weights if self.label_weights else probabilities

    def choose(self, probabilities: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the index of each image's label, (...), for scores (..., labels)."""
        chosen: npt.NDArray[Any] = self.weigh(probabilities).argmax(axis=-1)
        return chosen

    def rank(self, probabilities: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the indices of one image's labels, (labels,), the chosen one first; `probabilities` is (labels,)."""
        ranked: npt.NDArray[Any] = (-self.weigh(probabilities)).argsort(kind="stable")
        return ranked
