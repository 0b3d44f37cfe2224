"""Benchmark of a training's input: how long the network waits for images, how fast it trains, how busy the CPUs are.

The images are photos of 12 megapixels, and small ones. `kept` means that the decoded pixels are read from the disk, as
for the first 2 GiB of them; otherwise every photo is decoded again each time it is read. Random weights take the same
time as others. The first steps, in which the network is compiled, are not counted.

Up to five batches are decoded during these steps, and their decoding is not counted either. So with photos that are
decoded again, images/s is some percent higher than in a long training, where all CPUs are busy with both.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from eaves.config import SettingsLayer, build
from trainer.data import pixels
from trainer.data.dataset import Dataset, scan
from trainer.progress import SilentProgress, Step
from trainer.selection.selection import ModelSelection
from trainer.settings import TrainSettings
from trainer.storage import open_store
from trainer.tensorflow_notices import native_stderr

if TYPE_CHECKING:
    from trainer.prefetch import InputWait

PHOTOS, SMALL = 60, 160
"""Number of photos of 12 megapixels, and of small images."""
SIDES = {True: (4000, 3000), False: (500, 375)}
"""Width and height of the large and the small images, pixels."""
SKIPPED = 2
"""Number of first steps that are not counted, because they include the compilation or directly follow it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFigures:
    """Figures of one pass or one training.

    Attributes:
        name: What was measured.
        wait_share: Share of the time in which the network waited for its input, 0 to 1.
        images_per_s: Number of images that the network computed per second, or that were decoded per second.
        cpu_share: Share of the usable CPUs' time that the process used, 0 to 1.
    """

    name: str
    wait_share: float
    images_per_s: float
    cpu_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InputCase:
    """One case of the benchmark.

    Attributes:
        name: Name of the case on the page.
        large: Whether the images have 12 megapixels.
        is_kept: Whether decoded pixels are kept on disk.
        phase: First words of the phases that are measured.
        values: Settings of the section `train`.
    """

    name: str
    large: bool
    is_kept: bool
    phase: str
    values: dict[str, Any]


_INCEPTION = {"arch": "inception_v3", "weights": "none", "batch_size": 8, "epochs": 1}
CASES = (
    InputCase(name="frozen", large=False, is_kept=True, phase="Backbone", values=_INCEPTION | {"mode": "frozen"}),
    InputCase(name="frozen", large=True, is_kept=True, phase="Backbone", values=_INCEPTION | {"mode": "frozen"}),
    InputCase(name="frozen", large=True, is_kept=False, phase="Backbone", values=_INCEPTION | {"mode": "frozen"}),
    InputCase(
        name="finetune, passes of the variants",
        large=True,
        is_kept=True,
        phase="Backbone pass 2",
        values=_INCEPTION | {"mode": "finetune", "variants": 2},
    ),
    InputCase(name="full", large=True, is_kept=True, phase="Training", values=_INCEPTION | {"mode": "full"}),
    InputCase(name="full", large=True, is_kept=False, phase="Training", values=_INCEPTION | {"mode": "full"}),
)


def measure(cases: tuple[InputCase, ...] = CASES) -> tuple[InputFigures, ...]:
    """Measure the decoding of both kinds of images, and the cases; takes about two minutes on two CPUs."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        datasets = {}
        for large in sorted({case.large for case in cases}):
            write_photos(Path(folder, str(large)), PHOTOS if large else SMALL, SIDES[large])
            datasets[large] = scan(Path(folder, str(large)), val_fraction=0.2)
            found.append(_measure_decoding(datasets[large], "12 MP" if large else "0.2 MP"))
        for number, case in enumerate(cases):
            found.append(_measure_case(case, datasets[case.large], Path(folder, f"features-{number}")))
    return tuple(found)


def main() -> None:
    """Measure all cases and print one line for each."""
    print(f"\n{'input of a training, Inception V3':56} {'waits':>7} {'images/s':>9} {'CPUs':>6}")
    for one in measure():
        print(f"{one.name:56} {one.wait_share:7.1%} {one.images_per_s:9.1f} {one.cpu_share:6.0%}")


def write_photos(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Write JPEGs of four classes that compress like photos: smooth shapes with noise, 2 to 4 MB at 12 megapixels."""
    random = np.random.default_rng(0)
    for number in range(count):
        where = folder / str(number % 4)
        where.mkdir(parents=True, exist_ok=True)
        shapes = Image.fromarray(random.integers(0, 256, (15, 20, 3), dtype=np.uint8)).resize(size)
        noise = random.integers(-12, 13, (size[1], size[0], 1), dtype=np.int16)
        noisy = np.clip(np.asarray(shapes, dtype=np.int16) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(where / f"{number}.jpg", quality=85)


class _Stopwatch:
    """A progress that records time, CPU time and input wait at each step of the phases with a given title."""

    def __init__(self, title: str) -> None:
        self._title = title
        self.wait: InputWait | None = None
        self.marks: list[tuple[float, float, float, int]] = []

    @contextmanager
    def phase(self, title: str, total: int) -> Iterator[Step]:
        """Yield a function that records a step."""

        def step(count: int = 1, note: str = "") -> None:  # noqa: ARG001 - one signature for all
            if count and title.startswith(self._title):
                waited = 0.0 if self.wait is None else self.wait.seconds
                self.marks.append((time.perf_counter(), time.process_time(), waited, count))

        yield step

    def figures(self, name: str, *, images: int = 1) -> InputFigures:
        """Return the figures from the first counted step on; one count of a step stands for `images` images."""
        first, last = self.marks[SKIPPED], self.marks[-1]
        seconds = last[0] - first[0]
        done = sum(mark[3] for mark in self.marks[SKIPPED + 1 :]) * images
        cpus = len(os.sched_getaffinity(0))
        return InputFigures(
            name=name,
            wait_share=(last[2] - first[2]) / seconds,
            images_per_s=done / seconds,
            cpu_share=(last[1] - first[1]) / seconds / cpus,
        )


def _measure_decoding(dataset: Dataset, what: str) -> InputFigures:
    watch = _Stopwatch("Reading")
    recipe = build(TrainSettings, SettingsLayer(origin="benchmark", values={})).recipe()
    with pixels.decode(dataset, recipe, watch):
        return watch.figures(f"{what}: decoding, without a network")


def _measure_case(case: InputCase, dataset: Dataset, features: Path) -> InputFigures:
    from trainer.model import keras_model
    from trainer.training import fit
    from trainer.training.training_task import TrainingTask

    made, watch = build(TrainSettings, SettingsLayer(origin="benchmark", values=case.values)), _Stopwatch(case.phase)
    kept = {} if case.is_kept else {"kept_bytes": 0}
    with pixels.decode(dataset, made.recipe(), SilentProgress(), **kept) as decoded:
        with native_stderr():
            model = keras_model.build_model(made, made.own_scale, len(dataset.labels))
        task = TrainingTask(
            model=model,
            backbone_sha256=keras_model.backbone_digest(model),
            decoded=decoded,
            settings=made,
            progress=watch,
            features=open_store(features),
            selection=ModelSelection(arch=made.arch, image_size=made.image_size, scale=made.own_scale),
        )
        watch.wait = task.input_wait
        fit.fit(task)
    size, where = "12 MP" if case.large else "0.2 MP", "kept" if case.is_kept else "decoded again"
    return watch.figures(f"{size}: {case.name}, {where}", images=made.batch_size if case.phase == "Training" else 1)
