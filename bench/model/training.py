"""Benchmark of training: computing the backbone's features, training the head, and a step of a full training.

A step of a full training is compared with the same compiled step on tensors that are in memory already (the floor); the
difference is the cost of reading rows, shuffling and passing them to the step. Both are measured alternately, so that
drift of the machine affects both. The models have random weights and the images are noise; real weights and images take
the same time.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.measure.timing import print_table
from bench.model import training_input
from eaves.config import SettingsLayer, build
from trainer.data import pixels
from trainer.data.dataset import scan
from trainer.progress import SilentProgress, Step
from trainer.selection.selection import ModelSelection
from trainer.settings import TrainSettings
from trainer.storage import open_store
from trainer.tensorflow_notices import native_stderr
from trainer.train import build_environment

IMAGES = 192
SKIPPED = 2
"""Number of first steps that are not counted, because they include the compilation or directly follow it."""
ROUNDS = 3


def main() -> None:
    """Measure the training of a head, the steps of two full trainings and the wait for input, and print the tables."""
    for variable, value in build_environment().items():
        os.environ.setdefault(variable, value)
    with native_stderr():
        import keras  # noqa: F401 - its messages are printed here
    with tempfile.TemporaryDirectory() as folder:
        _write_images(Path(folder, "images"))
        _print_frozen(Path(folder))
    _print_step("small_cnn, 64 px, batch 32", {"arch": "small_cnn", "image_size": 64, "batch_size": 32}, steps=120)
    _print_step("inception_v3, 299 px, batch 8", {"arch": "inception_v3", "batch_size": 8, "weights": "none"}, steps=6)
    training_input.main()


def _settings(**values: Any) -> TrainSettings:
    return build(TrainSettings, SettingsLayer(origin="benchmark", values=values))


def _write_images(folder: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(IMAGES):
        where = folder / str(number % 4)
        where.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(random.integers(0, 256, (20, 25, 3), dtype=np.uint8))
        small.resize((500, 375)).save(where / f"{number}.jpg")


def _print_frozen(folder: Path) -> None:
    """Measure two trainings of a head on a frozen Inception V3, and print the times.

    The second training reuses the backbone's features that the first one has stored.
    """
    from trainer.model import keras_model
    from trainer.training import fit
    from trainer.training.training_task import TrainingTask

    made = _settings(mode="frozen", weights="none")
    dataset = scan(folder / "images", val_fraction=0.2)
    with pixels.decode(dataset, made.recipe(), SilentProgress()) as decoded:
        seconds = []
        for _ in range(2):
            with native_stderr():
                built = keras_model.build_model(made, made.own_scale, 4)
            task = TrainingTask(
                model=built,
                backbone_sha256=keras_model.backbone_digest(built),
                decoded=decoded,
                settings=made,
                progress=SilentProgress(),
                features=open_store(folder / "features"),
                selection=ModelSelection(arch=made.arch, image_size=made.image_size, scale=made.own_scale),
            )
            seconds.append(_seconds(partial(fit.fit, task)))
    first, second = seconds
    print(f"\nfrozen Inception V3, {IMAGES} photos, 100 epochs of the head")
    print(f"{'backbone pass':48} {IMAGES / (first - second):9.1f} images/s")
    print(f"{'first training (pass and head)':48} {first:9.1f} s")
    print(f"{'second training (cached features and head)':48} {second:9.1f} s")


def _print_step(what: str, values: dict[str, Any], *, steps: int) -> None:
    """Print the time of a training step in the trainer's own loop and on tensors in memory, measured alternately."""
    made = _settings(**values, mode="full")
    size = made.recipe().height
    inputs = np.random.default_rng(0).integers(0, 256, (steps * made.batch_size, size, size, 3), dtype=np.uint8)
    labels = np.arange(len(inputs), dtype=np.int64) % 4
    pairs = [(_measure_step_ms(made, inputs, labels), _floor_ms(made, inputs, labels)) for _ in range(ROUNDS)]
    ours, floor = (statistics.median(column) for column in zip(*pairs, strict=True))
    print_table("full training, one step (floor: the same on preloaded tensors)", [(what, ours, floor)])


class _Stopwatch:
    """A progress display that shows nothing and records the time at which each training step ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    @contextmanager
    def phase(self, title: str, total: int) -> Iterator[Step]:
        """Yield a function that records the end of a step each time the training calls it to report progress."""
        yield lambda count=1, note="": self.ends.append(time.perf_counter())

    def step_ms(self) -> float:
        """Return the mean time of a step, ms, without the first steps, in which the model is compiled."""
        ends = self.ends[SKIPPED:]
        return (ends[-1] - ends[0]) * 1000 / (len(ends) - 1)


def _network(made: TrainSettings) -> Any:
    import keras

    from trainer.model import keras_model

    with native_stderr():
        built = keras_model.build_model(made, made.own_scale, 4)
    return keras.Model(built.input, built.get_layer("head").output)


def _measure_step_ms(made: TrainSettings, inputs: Any, labels: Any) -> float:
    from trainer.training import loop

    watch = _Stopwatch()
    batches = loop.Batches(inputs, labels, np.arange(len(inputs)), made, shuffle=True)
    schedule = (1, 1e-4)
    loop.fit(_network(made), batches, made, watch, validation=None, stage="bench", checkpoints=None, schedule=schedule)
    return watch.step_ms()


def _floor_ms(made: TrainSettings, inputs: Any, labels: Any) -> float:
    import keras
    import tensorflow as tf

    network, optimizer = _network(made), keras.optimizers.Adam(1e-4)
    optimizer.build(network.trainable_variables)

    @tf.function  # type: ignore[untyped-decorator,unused-ignore]
    def step(images: Any, truth: Any) -> Any:
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(truth, network(images, training=True))
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, [variable.value for variable in network.trainable_variables])
        optimizer.apply(gradients, network.trainable_variables)
        return loss

    size, watch = made.batch_size, _Stopwatch()
    loaded = [
        (tf.constant(inputs[start : start + size]), tf.constant(labels[start : start + size]))
        for start in range(0, len(inputs), size)
    ]
    for images, truth in loaded:
        float(step(images, truth))
        watch.ends.append(time.perf_counter())
    return watch.step_ms()


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
