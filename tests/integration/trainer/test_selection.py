"""What is selected for a training: scale of given weights, size of the input; and what a resumed run begins with."""

import json
import re
import shutil
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
from trainer.run.run import Run, checkpoints_beside, open_run
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
    network.fit(pixels, labels, batch_size=32, epochs=5, verbose=0)
    backbone.save_weights(path)
    return path


def write_stripes(root: Path) -> Path:
    """Write striped pictures into a folder per class; returns `root`."""
    for number, (pixels, label) in enumerate(zip(*draw_stripes(40, seed=1), strict=True)):
        (root / f"c{label}").mkdir(parents=True, exist_ok=True)
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


def train_on_stripes(root: Path) -> Path:
    """Train on `root`/stripes, from weights whose scale nobody tells; returns `root`, with the run and its phases."""
    weights, phases = write_weights(root / "mine.weights.h5", UNIT), Phases(threading.Event())
    data = DataSettings(path=write_stripes(root / "stripes"))
    train(data, settings(weights=str(weights)), root / "run", name="stripes", progress=phases)
    (root / "compared.json").write_text(json.dumps(phases.compared))
    return root


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_once_here(tmp_path_factory, "selected", train_on_stripes)


@pytest.fixture(scope="module")
def run(made: Path) -> Run:
    return open_run(made / "run")


@pytest.mark.long("two models are trained, once on a machine")
def test_every_scale_is_measured_and_then_all_images_under_the_one_that_was_taken(made: Path):
    compared = json.loads((made / "compared.json").read_text())
    assert [title.split()[-1] for title in compared] == ["symmetric", "unit", "torch", "raw", "unit"]


def test_the_scale_of_the_training_is_recognised_and_reported(run: Run):
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


@pytest.mark.long("a training begins twice")
def test_a_stopped_run_continues_with_its_selection(made: Path, tmp_path: Path):
    weights, features = made / "mine.weights.h5", shutil.copytree(made / ".cache/features", tmp_path / "features")
    begun = settings(weights=str(weights), cache=str(features))
    file = checkpoints_beside(tmp_path / "run") / SELECTION_FILE

    def stop_at_the_head() -> tuple[dict[str, Any], list[str]]:
        stop = threading.Event()
        phases = Phases(stop, at="Fitting the head")
        with pytest.raises(StoppedError):
            train(DataSettings(path=made / "stripes"), begun, tmp_path / "run", progress=phases, stop=stop)
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


def select_size(root: Path) -> Path:
    """Select for two kinds of photos that differ in a line of a pixel, which the default input hardly shows.

    Returns:
        A file with three selections: the first, the same again with what it measured, and one of a training that may
        take no time for it.
    """
    rng, data = np.random.default_rng(0), DataSettings(path=root / "photos", near_copies="off")
    for label in ("plain", "scratched"):
        (root / "photos" / label).mkdir(parents=True)
        for number in range(12):
            grey = rng.normal(128, 12, (480, 480))
            if label == "scratched":
                row, column = rng.integers(100, 380, 2)
                grey[row, column - 40 : column + 40] += 70
            Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB").save(
                root / "photos" / label / f"{number}.png"
            )
    candidates, _ = list_candidates(TrainSettings(selection_s=600.0), [*root.rglob("*.png")])
    phases = Phases(threading.Event())
    first, again = choose(candidates, data, root, "first"), choose(candidates, data, root, "first again", phases)
    only = choose([replace(one, selection_s=0.0) for one in candidates], data, root, "only")
    found = {"first": first.to_dict(), "again": again.to_dict(), "compared": phases.compared, "only": only.to_dict()}
    (root / "sizes.json").write_text(json.dumps(found))
    return root / "sizes.json"


@pytest.mark.long("three sizes of input are measured, once on a machine")
def test_the_input_is_as_large_as_the_images_need(tmp_path_factory: pytest.TempPathFactory):
    found = json.loads(build_once_here(tmp_path_factory, "sizes", select_size).read_text())
    first, only = found["first"], found["only"]
    rows = {row["size"]: row for row in first["figures"]}
    assert set(rows) == {224, 320, 448}
    selected = rows[first["image_size"]]
    assert (selected["arch"], selected["note"]) == ("efficientnet_lite0", "selected")
    assert selected["accuracy"] >= max(row["accuracy"] for row in rows.values()) - 0.02
    assert all(row["cpu_ms"] > 0 and row["megabytes"] > 10 for row in rows.values())
    assert (found["again"], found["compared"]) == (first, [])
    assert [row["size"] for row in only["figures"]] == [only["image_size"]] == [224]


def select_backbone(root: Path) -> Path:
    """Select of two networks, the smaller with random weights, whose features say less, and then in no time.

    Returns:
        A file with both selections and their tables.
    """
    import keras

    data = DataSettings(path=write_stripes(root / "stripes"))
    network = keras.applications.MobileNetV3Small(include_top=False, weights=None, input_shape=(64, 64, 3))
    network.save_weights(root / "random.weights.h5")
    found = []
    for name, selection_s in (("all", 600.0), ("late", 1e-3)):
        common = {"image_size": 64, "scale": "symmetric", "selection_s": selection_s}
        large = settings(**common, arch="efficientnet_lite0", weights="auto")
        small = settings(**common, weights=str(root / "random.weights.h5"))
        chosen = choose([small, large], data, root, name)
        found.append(chosen.to_dict() | {"table": chosen.render().splitlines()})
    (root / "backbones.json").write_text(json.dumps(found))
    return root / "backbones.json"


@pytest.mark.long("two networks are measured, once on a machine")
def test_a_backbone_is_selected_and_a_late_one_is_listed(tmp_path_factory: pytest.TempPathFactory):
    chosen, early = json.loads(build_once_here(tmp_path_factory, "backbones", select_backbone).read_text())
    assert (chosen["arch"], chosen["image_size"]) == ("efficientnet_lite0", 64)
    assert [row["arch"] for row in chosen["figures"]] == ["mobilenet_v3_small", "efficientnet_lite0"]
    head = re.split("  +", chosen["table"][0])
    assert head == ["network", "input", "pixels", "accuracy (95 % interval)", "CPU ms", "MB", "head"]
    assert early["arch"] == "mobilenet_v3_small"
    assert early["figures"][1]["note"] == "not measured within 0.001 s"
    assert early["table"][-1].endswith("not measured within 0.001 s")
