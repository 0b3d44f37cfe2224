"""A training that learns nothing: the loss stays where it is, and every held-out image gets the same answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from eaves.errors import StuckTrainingError

EPOCHS = 5
"""Fewest epochs that are looked at."""
STEPS = 100
"""Fewest steps that are looked at: a few epochs of a small data set are too few steps to tell."""
FLAT = 0.02
"""Change of the training loss, a share of its mean, below which it is flat. A `small_cnn` without normalisation that
never learned changed by 0.5 % over 10 epochs; one that learns changes by a fifth or more."""


@dataclass(slots=True, kw_only=True)
class StuckWatch:
    """Looks at each epoch of a training, and ends one that learns nothing.

    Attributes:
        labels: Class names, in the order of the outputs.
        steps: Steps of one epoch.
        losses: Mean training loss of every epoch seen so far.
        answers: Classes that the held-out images were given after each of those epochs.
    """

    labels: Sequence[str]
    steps: int
    losses: list[float] = field(default_factory=list)
    answers: list[frozenset[int]] = field(default_factory=list)

    def add(self, loss: float, answers: frozenset[int]) -> None:
        """Look at one more epoch.

        Args:
            loss: Its mean training loss.
            answers: Every class that was answered to some held-out image after it.

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
                f"training is stuck after {len(self.losses)} epochs: the loss has stayed at {mean:.3f} for {window} "
                f"epochs, and every held-out image is taken for {self.labels[only]!r}",
                hint="use another architecture (train.arch: inception_v3) or another learning rate "
                "(train.learning_rate), and look whether the classes can be told apart at the size of the network's "
                "input (train.image_size)",
            )
