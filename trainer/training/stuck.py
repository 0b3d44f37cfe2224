"""Ends a training that learns nothing: the loss stays constant, and every held-out image gets the same answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from eaves.errors import StuckTrainingError

EPOCHS = 5
"""Minimum number of epochs over which the loss is checked before a training can count as stuck."""
STEPS = 100
"""Minimum number of steps over which the loss is checked; a few epochs of a small dataset have too few steps to decide.
"""
FLAT = 0.02
"""Change of the training loss, as a share of its mean, below which the loss counts as flat. A `small_cnn` without
normalisation that never learned changed by 0.5 % over 10 epochs; a network that learns changes by a fifth or more."""


@dataclass(slots=True, kw_only=True)
class StuckWatch:
    """Checks each epoch of a training, and ends a training that learns nothing.

    Attributes:
        labels: Class names, in the order of the outputs.
        steps: Steps of one epoch.
        losses: Mean training loss of every epoch so far.
        answers: Classes that the model predicted for held-out images after each of those epochs.
    """

    labels: Sequence[str]
    steps: int
    losses: list[float] = field(default_factory=list)
    answers: list[frozenset[int]] = field(default_factory=list)

    def add(self, loss: float, answers: frozenset[int]) -> None:
        """Add an epoch, and check whether the training is stuck.

        Args:
            loss: Mean training loss of the epoch.
            answers: Every class that the model predicts for some held-out image after the epoch.

        Raises:
            StuckTrainingError: Over the last epochs the loss was flat and every held-out image got the same answer.
        """
        self.losses.append(loss)
        self.answers.append(answers)
        window = max(EPOCHS, -(-STEPS // self.steps))
        losses, given = self.losses[-window:], frozenset[int]().union(*self.answers[-window:])
        if len(losses) < window or len(given) != 1:
            return
        mean = sum(losses) / window
        if max(losses) - min(losses) <= FLAT * mean:
            (only,) = given
            raise StuckTrainingError(
                f"training is stuck after {len(self.losses)} epochs: the loss has stayed at {mean:.3f} for "
                f"{window} epochs, and the model answers {self.labels[only]!r} for every held-out image",
                hint="use another architecture (train.arch: efficientnet_lite0) or another learning rate "
                "(train.learning_rate), and check that the classes differ visibly at the size of the "
                "network's input (train.image_size)",
            )
