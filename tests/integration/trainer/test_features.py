"""Cached features and fine-tuning with real Keras networks, tiny."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from eaves.config import SettingsLayer, build
from trainer.data import pixels
from trainer.data.dataset import scan
from trainer.data.pixels import DecodedDataset
from trainer.progress import SilentProgress, Step
from trainer.selection.selection import ModelSelection
from trainer.settings import TrainSettings
from trainer.storage import FileStore, open_store

TINY = {"arch": "mobilenet_v3_small", "weights": "none", "image_size": 32, "batch_size": 16}


class Counting:
    """Progress that counts the steps of each phase."""

    def __init__(self) -> None:
        self.done: dict[str, int] = {}

    @contextmanager
    def phase(self, title: str, total: int) -> Iterator[Step]:
        """Enter a phase."""

        def step(count: int = 1, note: str = "") -> None:
            self.done[title] = self.done.get(title, 0) + count

        yield step


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 handwritten digits, 0 to 2."""
    root, data = tmp_path_factory.mktemp("digits"), load_digits(n_class=3)
    for number, (image, label) in enumerate(zip(data.images[:150], data.target[:150], strict=True)):
        (root / str(label)).mkdir(exist_ok=True)
        Image.fromarray((image * 255 / 16).astype(np.uint8)).save(root / str(label) / f"{number:04d}.png")
    return root


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return open_store(tmp_path / "features")


def settings(**values: Any) -> TrainSettings:
    return build(TrainSettings, SettingsLayer(origin="test", values=TINY | values))


@contextmanager
def decoded(folder: Path, made: TrainSettings) -> Iterator[DecodedDataset]:
    with pixels.decode(scan(folder, val_fraction=0.2), made.recipe(), SilentProgress()) as ready:
        yield ready


def train(folder: Path, made: TrainSettings, store: FileStore) -> tuple[Any, Any, dict[str, int]]:
    """(model, what fitting left, phases)."""
    from trainer.model import keras_model
    from trainer.training import fit
    from trainer.training.training_task import TrainingTask

    with decoded(folder, made) as ready:
        built, progress = keras_model.build_model(made, made.own_scale, 3), Counting()
        digest = keras_model.backbone_digest(built)
        task = TrainingTask(
            model=built,
            backbone_sha256=digest,
            decoded=ready,
            settings=made,
            progress=progress,
            features=store,
            selection=ModelSelection(image_size=made.image_size, scale=made.own_scale),
        )
        return built, fit.fit(task), progress.done


def test_a_second_frozen_training_computes_no_features(folder: Path, store: FileStore) -> None:
    made = settings(mode="frozen", epochs=3)
    _, first, phases = train(folder, made, store)
    assert phases["Backbone pass"] == 150
    _, second, phases = train(folder, made, store)
    assert "Backbone pass" not in phases
    assert np.array_equal(first.val_logits, second.val_logits)
