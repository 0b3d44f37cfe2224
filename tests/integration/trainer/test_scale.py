"""Weights that were trained under one scale are recognised by a probe, and what is served is scaled so."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from converters.convert import convert
from converters.settings import ConvertSettings
from eaves.config import SettingsLayer, build
from eaves.errors import StoppedError
from eaves.inference.session import open_session
from tests.inputs.parts import draw_part
from tests.once import build_once_here
from tests.waiting import wait_until
from trainer.features.sharding import Shard
from trainer.pixel_scale.brightness import measure_brightness
from trainer.pixel_scale.probe import choose_scale_by_probe
from trainer.pixel_scale.scales import SCALES, SYMMETRIC, UNIT, Scale
from trainer.pixel_scale.stored_choice import SCALE_FILE
from trainer.progress import Step
from trainer.run.run import Run, checkpoints_beside, open_run
from trainer.settings import DataSettings, TrainSettings
from trainer.train import compute_share, train

CLASSES, SIDE = 4, 32
STARTED_S = 240
"""Importing TensorFlow takes minutes while others train on the same two cores."""
TINY: dict[str, Any] = {"arch": "mobilenet_v3_small", "image_size": SIDE}


def settings(**values: Any) -> TrainSettings:
    return build(TrainSettings, SettingsLayer(origin="test", values=TINY | values))


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

    made = settings(weights="none", mode="full")
    pixels, labels = draw_stripes(120, seed=0)
    model = build_model(made, scale, CLASSES)
    backbone = model.get_layer("backbone")
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.8  # a few steps must be enough for it
    network = keras.Model(model.input, model.get_layer("head").output)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(2e-3), loss=loss)
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
    def probed(self) -> list[str]:
        """The scales that were probed."""
        return [title.removeprefix("Probing scale ") for title in self.titles if title.startswith("Probing scale ")]


@pytest.fixture(scope="module")
def run(weights: Path, stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = settings(weights=str(weights), epochs=20)
    return train(DataSettings(path=stripes), made, tmp_path_factory.mktemp("probed") / "run", name="stripes")


def test_the_scale_of_the_training_is_recognised_and_reported(run: Run) -> None:
    assert (run.scale["name"], run.scale["by"]) == ("unit", "probe")
    assert {figure["scale"] for figure in run.scale["figures"]} == set(SCALES)
    assert run.scale["images"] == sum(run.dataset["train"].values())
    assert (run.recipe.multiply, run.recipe.add) == (UNIT.multiply, UNIT.add)
    assert json.loads((run.path / "config.json").read_text())["train"]["scale"] == "auto"
    page = (run.path / "report.html").read_text()
    assert "What pixels become" in page
    assert "train.scale: auto chose unit" in page
    assert run.val_accuracy > 0.7


def test_what_is_served_is_scaled_as_was_probed(run: Run, tmp_path: Path) -> None:
    """The function's graph and Keras's own file give the same answers, and those of the probed scale."""
    import keras

    artifact = convert(run.path, tmp_path / "artifact", ConvertSettings(precision="fp32"))
    pixels, labels = draw_stripes(10, seed=2)
    logits, _ = open_session(artifact).run(pixels)
    model = keras.models.load_model(run.path / "model.keras")
    expected = model.predict(pixels, verbose=0)["logits"]
    assert np.allclose(logits, expected, atol=1e-3)
    assert np.mean(logits.argmax(axis=1) == labels) > 0.7
    head, backbone = model.get_layer("head"), model.get_layer("backbone")
    by_hand = head(backbone(pixels.astype(np.float32) / 255, training=False))
    assert np.allclose(logits, by_hand, atol=1e-3)
    manifest = json.loads((tmp_path / "artifact/manifest.json").read_text())
    assert manifest["recipe"]["multiply"] == UNIT.multiply


def test_the_chosen_scales_features_are_not_computed_again(
    run: Run, weights: Path, stripes: Path, tmp_path: Path
) -> None:
    """A second training probes and trains on what the first one has kept."""
    phases = Phases(threading.Event())
    made = settings(weights=str(weights), epochs=1, cache=str(run.path.parent / ".cache/features"))
    again = train(DataSettings(path=stripes), made, tmp_path / "run", progress=phases)
    assert again.scale == run.scale
    assert phases.probed == []
    assert "Backbone pass" not in phases.titles


def test_a_setting_wins_and_nothing_is_probed(
    weights: Path, stripes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    phases = Phases(threading.Event())
    made = settings(weights=str(weights), epochs=20, scale="symmetric")
    with caplog.at_level(logging.INFO, logger="trainer"):
        run = train(DataSettings(path=stripes), made, tmp_path / "run", progress=phases)
    assert phases.probed == []
    assert run.scale["by"] == "setting"
    assert (run.recipe.multiply, run.recipe.add) == (1 / 127.5, -1.0)
    assert "train.scale is symmetric (pixels -1 to 1), so mine.weights.h5 is not probed" in caplog.text


def test_a_stopped_run_continues_with_its_scale(weights: Path, stripes: Path, tmp_path: Path) -> None:
    made, output, stop = settings(weights=str(weights), epochs=5), tmp_path / "run", threading.Event()
    first = Phases(stop, at="Training")
    with pytest.raises(StoppedError):
        train(DataSettings(path=stripes), made, output, progress=first, stop=stop)
    assert first.probed == list(SCALES)
    file = checkpoints_beside(output) / SCALE_FILE
    stored = json.loads(file.read_text())
    assert stored["choice"]["name"] == "unit"
    # Another word in the file shows that it decides: a probe would choose unit again.
    file.write_text(json.dumps({**stored, "choice": {**stored["choice"], "name": "torch"}}))
    second = Phases(threading.Event())
    run = train(DataSettings(path=stripes), made, output, progress=second)
    assert second.probed == []
    assert run.scale["name"] == "torch"


def test_a_few_images_are_probed_in_no_time(weights: Path, stripes: Path, tmp_path: Path) -> None:
    for label in ("c0", "c1"):
        (tmp_path / "few" / label).mkdir(parents=True)
        for file in sorted((stripes / label).iterdir())[:4]:
            (tmp_path / "few" / label / file.name).write_bytes(file.read_bytes())
    phases = Phases(threading.Event())
    made = settings(weights=str(weights), epochs=1)
    run = train(DataSettings(path=tmp_path / "few"), made, tmp_path / "run", progress=phases)
    assert phases.probed == []
    assert (run.scale["images"], run.scale["by"]) == (4, "probe")
    assert run.scale["name"] == "unit"
    assert open_run(run.path).scale == run.scale
    assert [figure["accuracy"] for figure in run.scale["figures"]] == [None] * len(SCALES)


class Finishing(Phases):
    """Progress during whose wait for the scale index 0 finishes the run."""

    def __init__(self, run: Path, place: Path) -> None:
        super().__init__(threading.Event())
        self._run, self._place = run, place

    @contextmanager
    def phase(self, title: str, total: int) -> Iterator[Step]:
        """Enter a phase."""
        if title.startswith("Waiting for the pod"):
            shutil.copytree(self._run, self._place)
        with super().phase(title, total) as step:
            yield step


def test_a_pod_that_misses_the_scale_is_done_when_the_run_exists(
    run: Run, weights: Path, stripes: Path, tmp_path: Path
) -> None:
    place, share = tmp_path / "place/run", Shard(index=1, count=2)
    phases = Finishing(run.path, place)
    made = settings(weights=str(weights), epochs=20)
    compute_share(
        DataSettings(path=stripes), made, f"file://{place}", share=share, cache=tmp_path / "work", progress=phases
    )
    assert phases.titles[-1] == "Waiting for the pod with index 0 to choose the scale"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_pods_of_a_job_take_the_scale_that_the_first_one_probes(weights: Path, stripes: Path, tmp_path: Path) -> None:
    def pod(index: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "trainer", "--path", str(stripes), "--output", f"file://{tmp_path}/run"]
        command += ["--arch", TINY["arch"], "--image-size", str(SIDE), "--weights", str(weights), "--epochs", "5"]
        environ = {"JOB_COMPLETION_INDEX": str(index), "JOB_COMPLETIONS": "2"}
        with (tmp_path / f"{index}.log").open("ab") as log:
            work = ["--work", str(tmp_path / f"work-{index}")]
            return subprocess.Popen([*command, *work], stderr=log, stdout=log, env=os.environ | environ)

    second = pod(1)
    log = tmp_path / "1.log"
    wait_until(lambda: "Waiting for the pod" in log.read_text(), timeout_s=STARTED_S)
    first = pod(0)
    assert second.wait(STARTED_S) == 0, log.read_text()
    assert first.wait(STARTED_S) == 0, (tmp_path / "0.log").read_text()
    assert "Probing scale" not in log.read_text()
    assert "train.scale: auto chose unit" in log.read_text()
    assert open_run(tmp_path / "run").scale["name"] == "unit"


def _train_on_flowers(shared: Path, folder: Path, each: int) -> Run:
    """A head on the given Inception V3, which was trained on pixels 0 to 1, for some photos of each flower."""
    for source in sorted((shared / "data/flowers/train").iterdir()):
        (folder / "flowers" / source.name).mkdir(parents=True)
        for file in sorted(source.iterdir())[:each]:
            (folder / "flowers" / source.name / file.name).symlink_to(file)
    made = build(
        TrainSettings,
        SettingsLayer(
            origin="test",
            values={
                "arch": "inception_v3",
                "weights": str(shared / "weights/inception_v3_notop.weights.h5"),
                "epochs": 20,
            },
        ),
    )
    return train(DataSettings(path=folder / "flowers"), made, folder / "run")


@pytest.mark.timeout(600)
def test_the_given_inception_is_recognised_by_eight_photos(shared: Path, tmp_path: Path) -> None:
    run = _train_on_flowers(shared, tmp_path, 4)
    assert (run.scale["name"], run.scale["by"]) == ("unit", "probe")


@pytest.mark.timeout(600)
def test_no_other_scale_is_found_for_the_given_inception_on_a_fixed_cameras_photos(shared: Path) -> None:
    """A drawn part as it is, bright, and of little contrast; the file was trained on 0 to 1, and nothing is claimed."""
    import keras

    from trainer.pixel_scale.first_features import measure_distances

    file = shared / "weights/inception_v3_notop.weights.h5"
    backbone = keras.applications.InceptionV3(include_top=False, weights=str(file), input_shape=(299, 299, 3))
    rng = np.random.default_rng(0)
    drawn = np.stack([draw_part("ok", rng, side=299) for _ in range(6)])
    for add, multiply in ((0, 1.0), (75, 1.0), (104, 0.75), (104, 0.4)):
        pixels = np.clip(drawn * multiply + add, 0, 255).astype(np.uint8)
        distances = measure_distances(backbone, pixels, SCALES)
        assert distances is not None
        choice = choose_scale_by_probe(
            {}, distances, measure_brightness(pixels), own=SYMMETRIC, images=6, file=file.name
        )
        assert (choice.by, choice.scale) in {("undecided", SYMMETRIC), ("probe", UNIT)}, (add, multiply)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_given_inception_is_recognised_by_many_photos(shared: Path, tmp_path: Path) -> None:
    run = _train_on_flowers(shared, tmp_path, 100)
    assert (run.scale["name"], run.scale["by"], run.scale["images"]) == ("unit", "probe", 160)
    accuracy = {figure["scale"]: figure["accuracy"] for figure in run.scale["figures"]}
    assert max(accuracy, key=lambda name: accuracy[name]) == "unit"
