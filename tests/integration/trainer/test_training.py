"""Real training, tiny: a small network on handwritten digits; the split that later runs keep."""

import hashlib
import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from eaves.dataset_folder import Split
from tests.inputs.settings import settings_from
from tests.once import build_once_here
from tests.page import Page
from trainer.data.splitting import HELD_OUT_FILE, SPLIT_FILE, HeldOutAnswer, load_split, parse_lines
from trainer.run.run import Run, open_run
from trainer.settings import DataSettings, TrainSettings
from trainer.train import train


def train_on_digits(root: Path) -> Path:
    """Train on the first 900 of scikit-learn's digits, `root`/digits, and one broken image; returns the run."""
    data = load_digits()
    for number, (pixels, label) in enumerate(zip(data.images[:900], data.target[:900], strict=True)):
        (root / "digits" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 255 / 16).astype(np.uint8)).save(root / "digits" / str(label) / f"{number:04d}.png")
    (root / "digits/7/broken.png").write_bytes((root / "digits/7/0007.png").read_bytes()[:-40])
    settings = settings_from(TrainSettings, {"arch": "small_cnn", "image_size": 16, "epochs": 12})
    return train(DataSettings(path=root / "digits"), settings, root / "out/run", name="digits").path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return open_run(build_once_here(tmp_path_factory, "digits", train_on_digits))


@pytest.mark.long("a model is trained, once on a machine")
def test_the_run_keeps_the_answer_to_each_held_out_image(run: Run):
    digits = run.path.parents[1] / "digits"
    answers = parse_lines((run.path / HELD_OUT_FILE).read_text(), HELD_OUT_FILE, HeldOutAnswer)
    assert run.dataset["root"] == str(digits)
    held_out = {digest for digest, entry in load_split(run.path).items() if entry.split == "val"}
    assert answers.keys() == held_out
    counted = [
        [sum((one.label, one.predicted) == (truth, other) for one in answers.values()) for other in run.labels]
        for truth in run.labels
    ]
    assert counted == run.metrics()["confusion"]
    for digest, answer in answers.items():
        assert hashlib.sha256((digits / answer.file).read_bytes()).hexdigest() == digest


def test_the_run_is_whole_and_good(run: Run):
    assert open_run(run.path) == run
    assert run.val_accuracy >= 0.9
    assert run.labels == tuple("0123456789")
    text = str(run.verdict["text"])
    assert re.match(r"this model is usable: 0\.9\d on \d+ held-out images \(95 % interval 0\.", text)
    assert f"T{text[1:]}." in Page((run.path / "report.html").read_text()).words
    assert run.mode == "full"
    assert [entry.name for entry in run.path.parent.iterdir()] == ["run"]
    history = json.loads((run.path / "history.json").read_text())
    assert len(history) == 12
    assert history[-1]["loss"] < history[0]["loss"]
    assert json.loads((run.path / "config.json").read_text())["train"]["arch"] == "small_cnn"
    assert (run.path / "labels.txt").read_text().split() == list(run.labels)


def test_a_broken_image_is_listed_and_left_out(run: Run):
    (fault,) = run.data_faults
    assert fault["file"] == "7/broken.png"
    assert "corrupt" in fault["reason"]
    assert sum(run.dataset["train"].values()) + sum(run.dataset["val"].values()) == 900


def test_the_saved_model_answers_as_the_figures_say(run: Run):
    import tensorflow as tf

    samples = run.samples()
    images = np.stack([run.recipe.tensor(sample.path.read_bytes()) for sample in samples])
    outputs = tf.saved_model.load(str(run.saved_model)).signatures["serving_default"](image=tf.constant(images))
    assert sorted(outputs) == ["logits", "probabilities"]
    calibrated = tf.nn.softmax(outputs["logits"] / run.metrics()["temperature"])
    assert np.allclose(calibrated, outputs["probabilities"], atol=1e-5)
    guesses = [run.labels[index] for index in np.argmax(outputs["logits"], axis=1)]
    assert np.mean([sample.label == guess for sample, guess in zip(samples, guesses, strict=True)]) >= 0.85


def fill(root: Path, count: int, start: int = 0) -> None:
    for index, label in enumerate(("dark", "light")):
        (root / label).mkdir(parents=True, exist_ok=True)
        for number in range(start, start + count):
            pixels = np.random.default_rng([index, number]).integers(0, 128, (16, 16, 3), dtype=np.uint8) + 127 * index
            Image.fromarray(pixels.astype(np.uint8)).save(root / label / f"{number:03d}.png")


def run_of(data: Path, output: Path, **values: object) -> Run:
    quick = {"arch": "small_cnn", "epochs": 1, "image_size": 16, **values}
    return train(DataSettings(path=data), settings_from(TrainSettings, quick), output)


def sides(run: Run) -> dict[str, Split]:
    return {digest: entry.split for digest, entry in load_split(run.path).items()}


@pytest.mark.long("models are trained")
def test_a_later_run_keeps_the_split_and_adds_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    data = tmp_path / "photos"
    fill(data, 10)
    monkeypatch.chdir(tmp_path)
    first = run_of(Path("photos"), tmp_path / "runs" / "first")
    assert json.loads((first.path / "config.json").read_text())["data"]["path"] == str(data)
    assert list(sides(first).values()).count("val") == 4
    assert first.dataset["split_of"] == ""
    assert SPLIT_FILE in first.files

    (data / "dark" / "000.png").unlink()
    fill(data, 10, start=50)
    with caplog.at_level(logging.INFO):
        second = run_of(data, tmp_path / "runs" / "second", seed=3)
    assert "is kept, and new images are added to it" in caplog.text
    assert second.dataset["split_of"].endswith("runs/first")
    assert len(sides(second)) == 39
    kept = sides(first).items() & sides(second).items()
    assert len(kept) == 19
    assert second.dataset["val"] == {"dark": 4, "light": 4}

    again = run_of(data, tmp_path / "runs" / "second", seed=3)
    assert again.version == second.version, "the run that is there keeps its own split"
