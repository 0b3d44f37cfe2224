"""The verdict on real trainings: what leaks is never called usable, and what is learned is."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from tests.inputs.bursts import write_bursts
from tests.inputs.settings import settings_from
from tests.once import build_once_here
from tests.processes.commands import run_command
from trainer.model.efficientnet_lite import LITE0_WEIGHTS
from trainer.run.run import Run, open_run
from trainer.settings import DataSettings, TrainSettings
from trainer.tensorflow_notices import ENVIRONMENT
from trainer.train import train

ROOT = Path(__file__).parents[3]

FEW = {"image_size": 128}
"""A small input, so that a training takes seconds."""


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


def train_offline(root: Path) -> Path:
    """Train on shots whose labels are coin tosses, by a process without a network; returns `root`, with its words."""
    words = ["--path", str(write_bursts(root / "data")), "--output", str(root / "run"), "--image-size", "128"]
    environ = {**os.environ, **ENVIRONMENT, "HOME": str(root), "PYTHONPATH": str(ROOT)}
    done = run_command([sys.executable, "-P", "-c", OFFLINE, *words], env=environ)
    assert done.returncode == 0, done.stderr
    (root / "said").write_text(done.stderr)
    return root


@pytest.mark.timeout(600)
@pytest.mark.long("a model is trained by a process without a network, once on a machine")
def test_shots_of_parts_whose_labels_are_coin_tosses_are_no_model_and_training_needs_no_network(
    tmp_path_factory: pytest.TempPathFactory,
):
    """8 shots of each of 24 parts were on both sides of the split: "usable: 1.00"."""
    made = build_once_here(tmp_path_factory, "coin-tosses", train_offline)
    run = open_run(made / "run")
    assert run.verdict["kind"] not in ("usable", "uncertain"), run.verdict["text"]
    assert 20 <= run.verdict["groups"] <= 24, "few parts look like another"
    assert (run.arch, run.mode, run.selection["scale"]) == ("efficientnet_lite0", "frozen", "lite")
    assert "accuracy (95 % interval)" in (made / "said").read_text(), "the table of what was selected"
    assert (run.recipe.multiply, run.recipe.add) == (1 / 128, -127 / 128)
    assert run.weights["file_sha256"] == LITE0_WEIGHTS.sha256
    assert run.weights["licence"] == "Apache-2.0"
    assert not (made / ".keras/models").exists()


def train_on_parts(root: Path) -> Path:
    """Train on parts that differ clearly; returns the run, `root`/run."""
    data = write_bursts(root / "data", parts=40, shots=3, visible=True)
    return train_on(DataSettings(path=data, group_by="name:(part[0-9]+)_"), root / "run").path


@pytest.mark.long("a model is trained, once on a machine")
def test_parts_that_can_be_told_apart_are_usable(tmp_path_factory: pytest.TempPathFactory):
    run = open_run(build_once_here(tmp_path_factory, "parts", train_on_parts))
    assert (run.verdict["kind"], run.verdict["groups"]) == ("usable", 40), run.verdict["text"]


def train_on_flowers(flowers: Path, root: Path) -> Path:
    """Train on flowers, to `root`/run, and on a split whose held-out side is the training side, to `root`/leaking."""
    labels = sorted(folder.name for folder in flowers.iterdir() if folder.is_dir())
    for label in labels[:2]:
        copy_photos(flowers / label, root / "leak/train" / label, 20)
        copy_photos(flowers / label, root / "leak/val" / label, 20, quality=85)
    train_on(DataSettings(path=root / "leak"), root / "leaking")
    for label in labels:
        copy_photos(flowers / label, root / "flowers" / label, 40)
    train_on(DataSettings(path=root / "flowers"), root / "run", {"image_size": 224})
    return root


@pytest.mark.long("two trainings, one at the network's own size, once on a machine")
def test_flowers_are_usable_and_a_split_that_holds_out_copies_is_not(
    tmp_path_factory: pytest.TempPathFactory, shared: Path
):
    """The data declare a split whose held-out side is the training side, saved once more."""
    flowers = shared / "data/flowers/train"
    made = build_once_here(tmp_path_factory, "flowers", lambda root: train_on_flowers(flowers, root), flowers)
    leak, run = open_run(made / "leaking"), open_run(made / "run")
    assert leak.verdict["kind"] == "unknown", leak.verdict["text"]
    assert "40 of 40 held-out images look like a training image" in leak.verdict["text"]
    assert run.verdict["kind"] == "usable", run.verdict["text"]
    assert run.verdict["lookalikes"] == 0


def train_twice(root: Path, **changes: str) -> Path:
    """Train on shots that leak, and once more with changed settings; returns the second run, `root`/runs/second."""
    small, data = {"arch": "small_cnn", "image_size": 32, "epochs": 12}, write_bursts(root / "data")
    train_on(DataSettings(path=data, near_copies="off"), root / "runs/first", small | {"epochs": 1})
    return train_on(DataSettings(path=data, near_copies="off", **changes), root / "runs/second", small).path  # type: ignore[arg-type]


@pytest.mark.slow
def test_without_a_remedy_a_leak_stays(tmp_path: Path):
    run = open_run(train_twice(tmp_path))
    assert (run.verdict["kind"], bool(run.dataset["split_of"])) == ("usable", True), run.verdict["text"]


@pytest.mark.long("two trainings, once on a machine")
def test_the_remedy_for_a_leak_has_an_effect(tmp_path_factory: pytest.TempPathFactory):
    """The split of the first training, which leaks, was kept by the second."""
    run = open_run(
        build_once_here(tmp_path_factory, "remedy", lambda root: train_twice(root, group_by="name:(part[0-9]+)_"))
    )
    assert run.verdict["kind"] != "usable", run.verdict["text"]
    assert not run.dataset["split_of"]
