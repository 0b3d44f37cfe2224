"""What each mode of training gets: weights of unequal classes in its loss and, in `full`, variants of the images."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.inputs.settings import settings_from
from trainer.calibration import likelihoods, prior_correction, softmax
from trainer.data.dataset import Dataset
from trainer.data.listing import LabelledImage
from trainer.model import fit
from trainer.model.checkpoint import Checkpoints, TrainingIdentity
from trainer.model.fit import TrainingTask
from trainer.model.keras_model import build_model
from trainer.model.selector import ModelSelection
from trainer.progress import SilentProgress
from trainer.settings import TrainSettings
from trainer.storage import open_store

FEW, MANY = 6, 30
"""Training images of the two classes."""
HELD_OUT = 4


def write_images(folder: Path, pixels: npt.NDArray[np.uint8], count: int) -> Iterator[Path]:
    """Write files of other bytes with the same pixels."""
    for number in range(count):
        text = PngInfo()
        text.add_text("number", str(number))
        Image.fromarray(pixels).save(folder / f"{number}.png", pnginfo=text)
        yield folder / f"{number}.png"


def build_task(folder: Path, pixels: npt.NDArray[np.uint8], *, balance: str = "auto", **values: Any) -> TrainingTask:
    """A training of two unequal classes.

    Args:
        folder: For images and cached features.
        pixels: One image, (H, W, 3); all examples are this image, so that only their number tells the classes apart.
        balance: Value of `data.balance`.
        values: Settings of the section `train`.
    """
    settings = settings_from(TrainSettings, {"image_size": len(pixels), **values})
    sides = [("few", "train")] * FEW + [("many", "train")] * MANY + [("few", "val"), ("many", "val")] * (HELD_OUT // 2)
    folder.mkdir(parents=True)
    examples = tuple(
        LabelledImage(path=path, label=label, digest=hashlib.sha256(path.read_bytes()).hexdigest(), split=side)  # type: ignore[arg-type]
        for path, (label, side) in zip(write_images(folder, pixels, len(sides)), sides, strict=True)
    )
    dataset = Dataset(
        root=folder, labels=("few", "many"), examples=examples, faults=(), declared=False, balance=balance
    )
    return TrainingTask(
        model=build_model(settings, 2),
        dataset=dataset,
        progress=SilentProgress(),
        features=open_store(folder / "features"),
        checkpoints=Checkpoints(
            open_store(folder / "checkpoints"),
            TrainingIdentity(config={}, dataset="", code=""),
            interval_s=3600,
        ),
        selection=ModelSelection(settings=settings),
    )


def share_of_few(logits: npt.NDArray[np.float32]) -> float:
    """What the model says of an image that may be either."""
    return float(softmax(logits)[0, 0])


GREY = np.full((32, 32, 3), 128, np.uint8)
MODES: dict[str, dict[str, Any]] = {
    "full": {"arch": "small_cnn", "epochs": 40, "augment": False, "batch_size": 36, "learning_rate": 0.02},
    "frozen": {"arch": "mobilenet_v3_small", "weights": "none", "mode": "frozen"},
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.long("models are trained")
def test_unequal_classes_count_alike_in_the_loss_of_every_mode(mode: str, tmp_path: Path):
    task = build_task(tmp_path / "balanced", GREY, **MODES[mode])
    balanced = fit.fit(task)
    counted = fit.fit(build_task(tmp_path / "counted", GREY, balance="none", **MODES[mode]))
    assert share_of_few(balanced.val_logits) == pytest.approx(0.5, abs=0.1)
    assert share_of_few(counted.val_logits) == pytest.approx(FEW / (FEW + MANY), abs=0.1)
    corrected = softmax(balanced.val_logits, 1.0, prior_correction(task.dataset.label_weights()))
    assert corrected[0, 0] == pytest.approx(FEW / (FEW + MANY), abs=0.1), "the scores are those of the data"


@pytest.mark.long("models are trained")
def test_full_training_sees_other_variants_and_judges_on_the_images_themselves(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    values: dict[str, Any] = {"arch": "small_cnn", "epochs": 3}
    trainings: dict[str, dict[str, Any]] = {"alone": {"augment": False}, "varied": {}, "upright": {"mirror": False}}
    tasks = {name: build_task(tmp_path / name, noise, **values, **more) for name, more in trainings.items()}
    fitted = {name: fit.fit(task) for name, task in tasks.items()}
    losses = {name: tuple(epoch["loss"] for epoch in made.history) for name, made in fitted.items()}
    assert len(set(losses.values())) == 3, "each training saw other pixels"
    varied = fitted["varied"]
    truth = tasks["varied"].dataset.truth(tasks["varied"].dataset.examples[-HELD_OUT:])
    assert varied.history[-1]["val_loss"] == pytest.approx(likelihoods(varied.val_logits, truth).mean(), abs=1e-4)
    again = fit.fit(build_task(tmp_path / "again", noise, **values))
    assert np.array_equal(again.val_logits, varied.val_logits), "the variants are the same ones each time"
