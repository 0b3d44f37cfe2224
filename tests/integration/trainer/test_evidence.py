"""The verdict on real trainings: what leaks is never called usable, and what is learned is."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from tests.inputs.bursts import write_bursts
from tests.inputs.settings import settings_from
from tests.processes.commands import run_command
from trainer.model.efficientnet_lite import LITE0_WEIGHTS
from trainer.run.run import Run, open_run
from trainer.settings import DataSettings, TrainSettings
from trainer.tensorflow_notices import ENVIRONMENT
from trainer.train import train

ROOT = Path(__file__).parents[3]

FEW = {"image_size": 128}
"""A small input, so that a training takes seconds."""


@pytest.fixture(scope="module")
def bursts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bursts(tmp_path_factory.mktemp("bursts") / "data")


def train_on(data: DataSettings, output: Path, values: Mapping[str, object] = FEW) -> Run:
    return train(data, settings_from(TrainSettings, dict(values)), output)


def copy_photos(source: Path, target: Path, count: int, *, quality: int = 0) -> None:
    """Copy the first photos of a class, or save them once more at a JPEG quality."""
    target.mkdir(parents=True)
    for file in sorted(source.iterdir())[:count]:
        if quality:
            Image.open(file).convert("RGB").save(target / file.name, quality=quality)
        else:
            (target / file.name).write_bytes(file.read_bytes())


OFFLINE = """
import runpy, socket, sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        raise OSError(f"no network here: {event} {arguments[1:]}")

sys.addaudithook(refuse)
try:
    socket.create_connection(("127.0.0.1", 9))
except OSError as error:
    assert "no network here" in str(error), error
runpy.run_module("trainer", run_name="__main__", alter_sys=True)
"""
"""Program that runs the trainer in a process whose connections and look-ups of names fail."""


@pytest.mark.timeout(600)
@pytest.mark.long("a model is trained by a process without a network")
def test_shots_of_parts_whose_labels_are_coin_tosses_are_no_model_and_training_needs_no_network(
    bursts: Path, tmp_path: Path
) -> None:
    """8 shots of each of 24 parts were on both sides of the split: "usable: 1.00"."""
    words = ["--path", str(bursts), "--output", str(tmp_path / "run"), "--image-size", str(FEW["image_size"])]
    environ = {**os.environ, **ENVIRONMENT, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = run_command([sys.executable, "-P", "-c", OFFLINE, *words], env=environ)
    assert done.returncode == 0, done.stderr
    run = open_run(tmp_path / "run")
    assert run.verdict["kind"] not in ("usable", "uncertain"), run.verdict["text"]
    assert 20 <= run.verdict["groups"] <= 24, "few parts look like another"
    assert (run.arch, run.mode, run.selection["scale"]) == ("efficientnet_lite0", "frozen", "lite")
    assert "accuracy (95 % interval)" in done.stderr, "the table of what was selected"
    assert (run.recipe.multiply, run.recipe.add) == (1 / 128, -127 / 128)
    assert run.weights["file_sha256"] == LITE0_WEIGHTS.sha256
    assert run.weights["licence"] == "Apache-2.0"
    assert not (tmp_path / ".keras/models").exists()


@pytest.mark.long("models are trained")
def test_parts_that_can_be_told_apart_are_usable(tmp_path: Path) -> None:
    data = write_bursts(tmp_path / "data", parts=40, shots=3, visible=True)
    run = train_on(DataSettings(path=data, group_by="name:(part[0-9]+)_"), tmp_path / "run")
    assert (run.verdict["kind"], run.verdict["groups"]) == ("usable", 40), run.verdict["text"]


@pytest.mark.long("two trainings, one at the network's own size")
def test_flowers_are_usable_and_a_split_that_holds_out_copies_is_not(tmp_path: Path, shared: Path) -> None:
    """The data declare a split whose held-out side is the training side, saved once more."""
    flowers = shared / "data/flowers/train"
    labels = sorted(folder.name for folder in flowers.iterdir() if folder.is_dir())
    for label in labels[:2]:
        copy_photos(flowers / label, tmp_path / "leak/train" / label, 20)
        copy_photos(flowers / label, tmp_path / "leak/val" / label, 20, quality=85)
    leak = train_on(DataSettings(path=tmp_path / "leak"), tmp_path / "leaking")
    assert leak.verdict["kind"] == "unknown", leak.verdict["text"]
    assert "40 of 40 held-out images look like a training image" in leak.verdict["text"]
    for label in labels:
        copy_photos(flowers / label, tmp_path / "flowers" / label, 40)
    run = train_on(DataSettings(path=tmp_path / "flowers"), tmp_path / "run", {"image_size": 224})
    assert run.verdict["kind"] == "usable", run.verdict["text"]
    assert run.verdict["lookalikes"] == 0


@pytest.mark.long("two trainings")
@pytest.mark.parametrize(
    ("changes", "usable"),
    [pytest.param({}, True, marks=pytest.mark.slow), ({"group_by": "name:(part[0-9]+)_"}, False)],
)
def test_the_remedy_for_a_leak_has_an_effect(
    bursts: Path, tmp_path: Path, changes: Mapping[str, str], usable: bool
) -> None:
    """The split of the first training, which leaks, was kept by the second."""
    small = {"arch": "small_cnn", "image_size": 32, "epochs": 12}
    train_on(DataSettings(path=bursts, near_copies="off"), tmp_path / "runs/first", small)
    run = train_on(DataSettings(path=bursts, near_copies="off", **changes), tmp_path / "runs/second", small)  # type: ignore[arg-type]
    assert (run.verdict["kind"] == "usable") == usable, run.verdict["text"]
    assert bool(run.dataset["split_of"]) == usable
