"""Real training, tiny: a small network on handwritten digits, and a frozen backbone on its features."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from eaves.config import SettingsLayer, build
from tests.page import Page
from trainer.data.dataset import scan
from trainer.data.splitting import HELD_OUT_FILE, HeldOutAnswer, load_split, parse_lines
from trainer.run.run import Run, open_run
from trainer.settings import DataSettings, TrainSettings
from trainer.tensorflow_notices import ENVIRONMENT
from trainer.train import train

PREDICT = """
import sys
import numpy as np, tensorflow as tf
from pathlib import Path
from trainer.run.run import open_run
run = open_run(Path(sys.argv[1]))
images = np.stack([run.recipe.tensor(sample.path.read_bytes()) for sample in run.samples()])
serve = tf.saved_model.load(str(run.saved_model)).signatures["serving_default"]
outputs = serve(image=tf.constant(images))
assert sorted(outputs) == ["logits", "probabilities"]
labels = [sample.label for sample in run.samples()]
guesses = [run.labels[index] for index in np.argmax(outputs["logits"], axis=1)]
assert np.allclose(np.sum(outputs["probabilities"], axis=1), 1, atol=1e-5)
calibrated = outputs["logits"] / run.metrics()["temperature"]
assert np.allclose(tf.nn.softmax(calibrated), outputs["probabilities"], atol=1e-5)
print(np.mean([label == guess for label, guess in zip(labels, guesses)]))
"""


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 900 of scikit-learn's digits as PNGs in a folder per class, and one broken image."""
    root, data = tmp_path_factory.mktemp("digits"), load_digits()
    for number, (pixels, label) in enumerate(zip(data.images[:900], data.target[:900], strict=True)):
        (root / str(label)).mkdir(exist_ok=True)
        Image.fromarray((pixels * 255 / 16).astype(np.uint8)).save(root / str(label) / f"{number:04d}.png")
    (root / "7" / "broken.png").write_bytes((root / "7" / "0007.png").read_bytes()[:-40])
    return root


@pytest.fixture(scope="module")
def run(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    settings = build(TrainSettings, SettingsLayer(origin="test", values={"arch": "small_cnn", "epochs": 12}))
    return train(DataSettings(path=digits), settings, tmp_path_factory.mktemp("out") / "run", name="digits")


def test_the_run_keeps_the_answer_to_each_held_out_image(run: Run, digits: Path) -> None:
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


def test_the_run_is_whole_and_good(run: Run) -> None:
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


def test_a_broken_image_is_listed_and_left_out(run: Run) -> None:
    (fault,) = run.data_faults
    assert fault["file"] == "7/broken.png"
    assert "corrupt" in fault["reason"]
    assert sum(run.dataset["train"].values()) + sum(run.dataset["val"].values()) == 900


def test_the_saved_model_answers_in_a_fresh_process(run: Run) -> None:
    command = [sys.executable, "-c", PREDICT, str(run.path)]
    done = subprocess.run(command, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) >= 0.85


def test_a_frozen_backbone_stays_and_its_head_learns(digits: Path, tmp_path: Path) -> None:
    values = {"arch": "mobilenet_v3_small", "weights": "none", "mode": "frozen", "image_size": 32, "epochs": 20}
    made = build(TrainSettings, SettingsLayer(origin="test", values=values))
    first = train(DataSettings(path=digits), made, tmp_path / "first")
    second = train(DataSettings(path=digits), made, tmp_path / "second")
    # The backbone is random and its features are tiny (1e-11), yet they tell digits apart.
    assert first.val_accuracy > 0.5
    assert first.mode == "frozen"
    assert first.weights["backbone_sha256"] == second.weights["backbone_sha256"]
    assert first.metrics()["confusion"] == second.metrics()["confusion"]
    # The saved model, whose head was trained apart from it, says what the metrics say.
    import keras

    held_out = [
        item for item in scan(digits, val_fraction=0.2).examples if item.split == "val" and item.path.stem != "broken"
    ]
    tensors = np.stack([first.recipe.tensor(item.path.read_bytes()) for item in held_out])
    logits = keras.models.load_model(first.path / "model.keras").predict(tensors, verbose=0)["logits"]
    assert np.mean(np.argmax(logits, axis=1) == [int(item.label) for item in held_out]) == first.val_accuracy
