"""The training loop on a tiny model: what it reports while it runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from eaves.config import SettingsLayer, build
from trainer.progress import Step
from trainer.settings import TrainSettings
from trainer.training import loop

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


def test_the_note_holds_the_figures_of_the_epoch_it_names() -> None:
    rng = np.random.default_rng(0)
    inputs, labels = rng.normal(size=(32, 8)).astype(np.float32), rng.integers(0, 2, 32)
    made, progress, rows = settings(), Recorded(), np.arange(32)
    history = loop.fit(
        linear_model(),
        loop.Batches(inputs, labels, rows, made, shuffle=True),
        made,
        progress,
        validation=loop.Batches(inputs, labels, rows, made, shuffle=False),
        checkpoints=None,
        schedule=(EPOCHS, 0.05),
    )
    assert progress.notes[0] == (0, f"epoch 1/{EPOCHS}")
    steps = [note for count, note in progress.notes if count == 1]
    done = [note for count, note in progress.notes[1:] if count == 0]
    for number, figures in enumerate(history, start=1):
        last = f"epoch {number}/{EPOCHS} loss {figures['loss']:.3f} accuracy {figures['accuracy']:.3f}"
        assert steps[number * 4 - 1] == last
        assert done[number - 1] == f"{last} val_accuracy {figures['val_accuracy']:.3f}"
    assert len({note.split("loss")[1] for note in steps}) > EPOCHS, "the figures follow every step"


class Tracked:
    """Inputs that are all alike; knows how many batches have been read."""

    def __init__(self, batches: int) -> None:
        self.read = [threading.Event() for _ in range(batches)]

    def __len__(self) -> int:
        return 8 * len(self.read)

    def __getitem__(self, rows: Any) -> Any:
        self.read[int(rows[0]) // 8].set()
        return np.zeros((len(rows), 8), np.float32)


def test_the_next_batch_is_read_before_a_step_ends() -> None:
    inputs, made, steps = Tracked(6), settings(), 0

    class Waiting(Recorded):
        @contextmanager
        def phase(self, title: str, total: int) -> Iterator[Step]:
            def step(count: int = 1, note: str = "") -> None:
                nonlocal steps
                steps += count
                if count and steps < len(inputs.read):
                    assert inputs.read[steps].wait(30), f"step {steps} ends before batch {steps} is read"

            yield step

    loop.fit(
        linear_model(),
        loop.Batches(inputs, np.zeros(len(inputs), np.int64), np.arange(len(inputs)), made, shuffle=False),
        made,
        Waiting(),
        validation=None,
        checkpoints=None,
        schedule=(1, 0.01),
    )
    assert steps == len(inputs.read)
