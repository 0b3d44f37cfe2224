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
from eaves.errors import ConfigError
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


def test_fine_tuning_changes_what_is_above_the_cut_and_nothing_below(folder: Path, store: FileStore) -> None:
    from trainer.model import keras_model

    made = settings(mode="finetune", epochs=1, variants=3, learning_rate=1e-2)
    before = keras_model.build_model(made, made.own_scale, 3).get_layer("backbone").get_weights()
    trained, fitted, phases = train(folder, made, store)
    backbone = trained.get_layer("backbone")
    names = [variable.path for variable in backbone.weights]
    pairs = zip(names, before, backbone.get_weights(), strict=True)
    changed = [name for name, old, new in pairs if not np.array_equal(old, new)]
    layers = [layer.name for layer in backbone.layers]
    above = set(layers[layers.index("expanded_conv_7_add") + 1 :])
    assert {name.split("/")[-2] for name in changed} <= above
    assert any("expanded_conv_10_project/" in name for name in changed)
    assert not any("_bn/" in name for name in changed)
    train_count = 150 - len(fitted.val_logits)
    assert [phases[f"Backbone pass {number}/3"] for number in (1, 2, 3)] == [150, train_count, train_count]
    assert len(fitted.history) == 1
    _, again, phases = train(folder, made, store)
    assert not any(title.startswith("Backbone pass") for title in phases)
    assert np.array_equal(again.val_logits, fitted.val_logits)


def test_the_saved_model_answers_as_the_fine_tuned_one(folder: Path, store: FileStore, tmp_path: Path) -> None:
    import keras
    import tensorflow as tf

    from trainer.model import keras_model

    made = settings(mode="finetune", epochs=1, variants=2)
    trained, fitted, _ = train(folder, made, store)
    keras_model.save_keras(trained, tmp_path / "model.keras")
    keras_model.save_saved_model(trained, tmp_path / "model")
    with decoded(folder, made) as ready:
        images = ready.pixels[ready.rows("val")]
    loaded = keras.models.load_model(tmp_path / "model.keras").predict(images, verbose=0)["logits"]
    served = tf.saved_model.load(str(tmp_path / "model")).signatures["serving_default"](image=tf.constant(images))
    np.testing.assert_allclose(loaded, fitted.val_logits, atol=1e-4)
    np.testing.assert_allclose(served["logits"], fitted.val_logits, atol=1e-4)
    # The network that was trained, on cached activations, agrees with the whole one on pixels.
    accuracy = np.mean(np.argmax(fitted.val_logits, axis=1) == ready.labels[ready.rows("val")])
    assert abs(fitted.history[-1]["val_accuracy"] - accuracy) < 0.1


@pytest.mark.parametrize("layer", ["nowhere", "expanded_conv_7_expand"])
def test_a_layer_that_is_no_cut_is_a_fault_of_the_setting(folder: Path, store: FileStore, layer: str) -> None:
    with pytest.raises(ConfigError, match="cut: the network can't be divided at this layer"):
        train(folder, settings(mode="finetune", cut=layer), store)
