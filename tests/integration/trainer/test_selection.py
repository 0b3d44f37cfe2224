"""What is selected for a training: scale of given weights, size of the input; and what a resumed run begins with."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from eaves.errors import StoppedError
from tests.inputs.settings import settings_from
from tests.once import build_once_here
from trainer.data.dataset import load_dataset
from trainer.model.architectures import SCALES, UNIT, Scale
from trainer.model.candidates import list_candidates
from trainer.model.selector import SELECTION_FILE, ModelSelection, select
from trainer.progress import SilentProgress, Step
from trainer.run.run import Run, checkpoints_beside
from trainer.settings import DataSettings, TrainSettings
from trainer.storage import open_store
from trainer.train import train

CLASSES, SIDE = 4, 32
TINY: dict[str, Any] = {"arch": "mobilenet_v3_small", "image_size": SIDE}


def settings(**values: Any) -> TrainSettings:
    return settings_from(TrainSettings, TINY | values)


def draw_stripes(each: int, seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Stripes of four directions in noise, (N, side, side, 3), and their classes; grey values vary as in photos."""
    rng, (y, x) = np.random.default_rng(seed), np.mgrid[:SIDE, :SIDE]
    labels = np.repeat(np.arange(CLASSES), each)
    pixels = np.empty((len(labels), SIDE, SIDE, 3), np.uint8)
    for row, label in enumerate(labels):
        angle = np.pi * (label + rng.uniform(-0.2, 0.2)) / CLASSES
        wave = np.sin(rng.uniform(0.5, 0.9) * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform(0, 6.28))
        grey = rng.uniform(90, 160) + rng.uniform(27, 54) * wave + rng.normal(0, 38, (SIDE, SIDE))
        pixels[row] = np.clip(grey, 0, 255)[..., np.newaxis]
    return pixels, labels


def write_weights(path: Path, scale: Scale) -> Path:
    """Train a small network under one scale and keep its backbone's weights."""
    import keras

    from trainer.model.keras_model import build_model

    made = settings(weights="none", mode="full", scale=scale.name)
    pixels, labels = draw_stripes(120, seed=0)
    model = build_model(made, CLASSES)
    backbone = model.get_layer("backbone")
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.8  # a few steps must be enough for it
    network = keras.Model(model.input, model.get_layer("head").output)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(2e-3), loss=loss, jit_compile=False)
    network.fit(pixels, labels, batch_size=32, epochs=10, verbose=0)
    backbone.save_weights(path)
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_once_here(tmp_path_factory, "weights", lambda folder: write_weights(folder / "mine.weights.h5", UNIT))


@pytest.fixture(scope="module")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stripes")
    for number, (pixels, label) in enumerate(zip(*draw_stripes(40, seed=1), strict=True)):
        (root / f"c{label}").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(root / f"c{label}" / f"{number:04d}.png")
    return root


class Phases:
    """Progress that remembers the phases, and stops at one of them."""

    def __init__(self, stop: threading.Event, at: str = "") -> None:
        self.titles: list[str] = []
        self._stop, self._at = stop, at

    @contextmanager
    def phase(self, title: str, total: int) -> Iterator[Step]:
        """Enter a phase."""
        self.titles.append(title)
        if title == self._at:
            self._stop.set()
        yield lambda count=1, note="": None

    @property
    def compared(self) -> list[str]:
        """The candidates that were measured with a network."""
        return [title.removeprefix("Comparing ") for title in self.titles if " pixels, " in title]


@pytest.fixture(scope="module")
def phases() -> Phases:
    return Phases(threading.Event())


@pytest.fixture(scope="module")
def run(weights: Path, stripes: Path, phases: Phases, tmp_path_factory: pytest.TempPathFactory) -> Run:
    output = tmp_path_factory.mktemp("selected") / "run"
    return train(DataSettings(path=stripes), settings(weights=str(weights)), output, name="stripes", progress=phases)


@pytest.mark.long("models are trained")
def test_every_scale_is_measured_and_then_all_images_under_the_one_that_was_taken(run: Run, phases: Phases) -> None:
    assert [title.split()[-1] for title in phases.compared] == ["symmetric", "unit", "torch", "raw", "unit"]


def test_the_scale_of_the_training_is_recognised_and_reported(run: Run) -> None:
    assert run.selection["scale"] == "unit"
    figures = [row for row in run.selection["figures"] if row["note"] != "selected"]
    assert {row["scale"] for row in figures} == set(SCALES)
    assert [row["scale"] for row in figures if row["note"] == "taken"] == ["unit"]
    assert run.selection["images"] == sum(run.dataset["train"].values())
    assert (run.recipe.multiply, run.recipe.add) == (UNIT.multiply, UNIT.add)
    assert json.loads((run.path / "config.json").read_text())["train"]["scale"] == "auto"
    page = (run.path / "report.html").read_text()
    assert "What was selected" in page
    assert "train.scale: auto took unit" in page
    assert run.val_accuracy > 0.7


@pytest.mark.long("models are trained")
def test_a_stopped_run_continues_with_its_selection(run: Run, weights: Path, stripes: Path, tmp_path: Path) -> None:
    made = settings(weights=str(weights), cache=str(run.path.parent / ".cache/features"))
    file = checkpoints_beside(tmp_path / "run") / SELECTION_FILE

    def stop_at_the_head() -> tuple[dict[str, Any], list[str]]:
        stop = threading.Event()
        phases = Phases(stop, at="Fitting the head")
        with pytest.raises(StoppedError):
            train(DataSettings(path=stripes), made, tmp_path / "run", progress=phases, stop=stop)
        return json.loads(file.read_text()), phases.compared

    stored, _ = stop_at_the_head()
    assert stored["selection"]["scale"] == "unit"
    # Another word in the file shows that it decides: a measurement would take unit again.
    stored["selection"]["scale"] = "torch"
    file.write_text(json.dumps(stored))
    again, compared = stop_at_the_head()
    assert (again["selection"]["scale"], compared) == ("torch", [])


def choose(
    candidates: list[TrainSettings], data: DataSettings, folder: Path, name: str, phases: Phases | None = None
) -> ModelSelection:
    """Select for a run of this name; the first word of the name is what tells the training apart from others."""
    return select(
        candidates,
        load_dataset(data, val_fraction=0.2, seed=0, cache=folder),
        features=open_store(folder / "features"),
        unfinished=open_store(folder / name),
        fingerprint=name.split(maxsplit=1)[0],
        progress=phases or SilentProgress(),
    )


@pytest.mark.long("three sizes of input are measured")
def test_the_input_is_as_large_as_the_images_need(tmp_path: Path) -> None:
    """Two kinds of photos that differ in a line of a pixel, which the default input of 224 pixels hardly shows."""
    rng, data = np.random.default_rng(0), DataSettings(path=tmp_path / "photos", near_copies="off")
    for label in ("plain", "scratched"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(12):
            grey = rng.normal(128, 12, (480, 480))
            if label == "scratched":
                row, column = rng.integers(100, 380, 2)
                grey[row, column - 40 : column + 40] += 70
            Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB").save(
                tmp_path / "photos" / label / f"{number}.png"
            )
    candidates, _ = list_candidates(TrainSettings(selection_s=600.0), [*tmp_path.rglob("*.png")])
    selection = choose(candidates, data, tmp_path, "first")
    rows = {row["size"]: row for row in selection.figures}
    assert set(rows) == {224, 320, 448}
    selected = rows[selection.settings.image_size]
    assert (selected["arch"], selected["note"]) == ("efficientnet_lite0", "selected")
    assert selected["accuracy"] >= max(row["accuracy"] for row in rows.values()) - 0.02
    assert all(row["cpu_ms"] > 0 and row["megabytes"] > 10 for row in rows.values())
    phases = Phases(threading.Event())
    assert choose(candidates, data, tmp_path, "first again", phases).to_dict() == selection.to_dict()
    assert phases.compared == []
    only = choose([replace(one, selection_s=0.0) for one in candidates], data, tmp_path, "only")
    assert [row["size"] for row in only.figures] == [only.settings.image_size] == [224]


@pytest.mark.long("models are trained")
def test_a_backbone_is_selected_and_a_late_one_is_listed(stripes: Path, tmp_path: Path) -> None:
    """The smaller network has random weights, and its features say less."""
    import keras

    network = keras.applications.MobileNetV3Small(include_top=False, weights=None, input_shape=(64, 64, 3))
    network.save_weights(tmp_path / "random.weights.h5")

    def choose_backbone(name: str, selection_s: float) -> ModelSelection:
        common = {"image_size": 64, "scale": "symmetric", "selection_s": selection_s}
        large = settings(**common, arch="efficientnet_lite0", weights="auto")
        small = settings(**common, weights=str(tmp_path / "random.weights.h5"))
        return choose([small, large], DataSettings(path=stripes), tmp_path, name)

    chosen = choose_backbone("all", 600.0)
    assert (chosen.settings.arch, chosen.settings.image_size) == ("efficientnet_lite0", 64)
    assert [row["arch"] for row in chosen.figures] == ["mobilenet_v3_small", "efficientnet_lite0"]
    head = chosen.render().splitlines()[0]
    assert re.split("  +", head) == ["network", "input", "pixels", "accuracy (95 % interval)", "CPU ms", "MB", "head"]
    early = choose_backbone("late", 1e-3)
    assert early.settings.arch == "mobilenet_v3_small"
    assert early.figures[1]["note"] == "not measured within 0.001 s"
    assert early.render().splitlines()[-1].endswith("not measured within 0.001 s")
