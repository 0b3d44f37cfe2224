"""The training loop on a tiny model: what it reports while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from eaves.config import SettingsLayer, build
from trainer.progress import Step
from trainer.settings import TrainSettings
from trainer.storage import open_store
from trainer.training import loop
from trainer.training.checkpoint import Checkpoints, TrainingIdentity

EPOCHS = 4


class Recorded:
    """A progress that keeps every note."""

    def __init__(self) -> None:
        self.notes: list[tuple[int, str]] = []

    @contextmanager
    def phase(self, title: str, total: int) -> Iterator[Step]:
        """Enter a phase."""

        def step(count: int = 1, note: str = "") -> None:
            self.notes.append((count, note))

        yield step


def linear_model() -> Any:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])


def settings(**values: Any) -> TrainSettings:
    return build(TrainSettings, SettingsLayer(origin="test", values={"arch": "small_cnn", "batch_size": 8, **values}))


def test_the_note_holds_the_figures_of_the_epoch_it_names(tmp_path: Path) -> None:
    identity = TrainingIdentity(config={}, labels=("a", "b"), dataset="", code="")
    rng = np.random.default_rng(0)
    inputs, labels = rng.normal(size=(32, 8)).astype(np.float32), rng.integers(0, 2, 32)
    made, progress, rows = settings(epochs=EPOCHS, learning_rate=0.05), Recorded(), np.arange(32)
    history = loop.fit(
        linear_model(),
        loop.Batches(inputs, labels, rows, made, shuffle=True),
        made,
        progress,
        validation=loop.Batches(inputs, labels, rows, made, shuffle=False),
        checkpoints=Checkpoints(open_store(tmp_path), identity, interval_s=3600),
        class_weight={0: 1.0, 1: 1.0},
    )
    assert progress.notes[0] == (0, f"epoch 1/{EPOCHS}")
    steps = [note for count, note in progress.notes if count == 1]
    done = [note for count, note in progress.notes[1:] if count == 0]
    for number, figures in enumerate(history, start=1):
        last = f"epoch {number}/{EPOCHS} loss {figures['loss']:.3f} accuracy {figures['accuracy']:.3f}"
        assert steps[number * 4 - 1] == last
        assert done[number - 1] == f"{last} val_accuracy {figures['val_accuracy']:.3f}"
    assert len({note.split("loss")[1] for note in steps}) > EPOCHS, "the figures follow every step"
