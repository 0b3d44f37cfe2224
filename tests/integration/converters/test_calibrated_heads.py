"""Two heads on one frozen backbone: temperature and prior correction travel with the head, and scores obey them."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from converters.convert import convert
from converters.settings import ConvertSettings
from eaves.artifact import Artifact, check, open_artifact
from eaves.inference.session import open_session
from tests.inputs.artifacts import CLASSES, PER_CLASS, build_tiny_dataset
from tests.inputs.settings import settings_from
from tests.once import build_once_here
from trainer.data.dataset import scan
from trainer.run.run import Run, open_run
from trainer.settings import DataSettings, TrainSettings
from trainer.train import train

pytestmark = pytest.mark.timeout(900)  # the first run on a machine trains two networks and converts them twice


def write_digits(root: Path) -> Path:
    """Digits to train on and others held out, of which every third has a wrong label: heads are too sure of them."""
    build_tiny_dataset(root / "train")
    digits, count = load_digits(), Counter[int]()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        count[label] += 1
        if label < CLASSES and PER_CLASS < count[label] <= 2 * PER_CLASS:
            named = (label + (count[label] % 3 == 0)) % CLASSES
            (root / "val" / str(named)).mkdir(parents=True, exist_ok=True)
            Image.fromarray((pixels * 255 / 16).astype(np.uint8)).save(root / "val" / str(named) / f"{number:04d}.png")
    return root


def build_pair(root: Path) -> Path:
    """Train two heads, to `root`/run0 and `root`/run1; returns `root`.

    One class is rare, and its images weigh more in the second training.
    """
    digits = write_digits(root / "digits")
    for path in sorted((digits / "train/0").iterdir())[6:]:
        path.unlink()
    for number, balance in enumerate(("none", "auto")):
        data = DataSettings(path=digits, balance=balance)
        values = {"arch": "mobilenet_v3_small", "weights": "none", "mode": "frozen", "image_size": 32, "epochs": 5}
        settings = settings_from(TrainSettings, values)
        train(data, settings, root / f"run{number}", name="digits")
    return root


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Two runs whose heads and temperatures differ."""
    root = build_once_here(tmp_path_factory, "heads", build_pair)
    return [open_run(root / f"run{number}") for number in range(2)]


@pytest.mark.long("two models are trained, once on a machine")
def test_a_frozen_backbone_stays_and_its_head_learns(pair: list[Run]):
    """The saved model, whose head was trained apart from it, says what the figures say."""
    import keras

    first, second = pair
    assert (first.mode, second.mode) == ("frozen", "frozen")
    assert first.weights["backbone_sha256"] == second.weights["backbone_sha256"]
    held_out = [item for item in scan(first.path.parent / "digits", val_fraction=0.2).examples if item.split == "val"]
    tensors = np.stack([first.recipe.tensor(item.path.read_bytes()) for item in held_out])
    logits = keras.models.load_model(first.path / "model.keras")(tensors)["logits"]
    right = np.mean(np.argmax(logits, axis=1) == [int(item.label) for item in held_out])
    # The backbone is random, its features are tiny (1e-11), and a third of the labels are wrong.
    assert right == first.val_accuracy > 0.4


@pytest.fixture(scope="module")
def int8_pair(pair: list[Run], tmp_path_factory: pytest.TempPathFactory) -> list[Artifact]:
    """The same two runs as int8, each on its own: neither sees the other's artifact."""
    # A head on a backbone that was never trained: it may lose anything here.
    settings = ConvertSettings(precision="int8", max_accuracy_drop=100.0, tolerance_int8=1.0, agreement_int8=0.0)

    def build_both(root: Path) -> Path:
        for number, run in enumerate(pair):
            convert(run.path, root / str(number) / "artifact", settings)
        return root

    root = build_once_here(tmp_path_factory, "int8_heads", build_both, *(run.path for run in pair))
    return [open_artifact(root / str(number) / "artifact") for number in range(2)]


@pytest.mark.long("two models are converted to int8, once on a machine")
def test_another_head_and_temperature_change_the_heads_file_alone(int8_pair: list[Artifact]):
    """How the backbone is rounded depends on nothing of the head, and the head isn't rounded."""
    first, second = int8_pair
    assert first.manifest.temperature != second.manifest.temperature
    operators = [node.op_type for node in onnx.load(str(first.model_path), load_external_data=False).graph.node]
    assert operators.count("QLinearConv") > 20
    for name in ("model.onnx", "weights/backbone.bin"):
        assert (first.path / name).read_bytes() == (second.path / name).read_bytes(), name
    head = [(artifact.path / "weights/head.bin").read_bytes() for artifact in int8_pair]
    assert head[0] != head[1]
    assert len(head[0]) < 21_000
    keys = [artifact.manifest.quantisation.calibration_key for artifact in int8_pair]
    assert keys[0] == keys[1]
    for artifact in int8_pair:
        assert check(open_artifact(artifact.path, level="full"), open_session(artifact).answer) == 4
