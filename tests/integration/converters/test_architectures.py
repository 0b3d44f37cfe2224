"""Every architecture of the registry at its own size: trained, converted, proven equal, optimised; slow."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from converters.convert import convert
from converters.settings import ConvertSettings
from eaves.artifact import check
from eaves.inference.onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions
from eaves.inference.session import open_session
from tests.inputs.artifacts import CLASSES, build_tiny_dataset
from tests.inputs.settings import settings_from
from trainer.model.architectures import ARCHITECTURES, SCALES
from trainer.run.run import Run
from trainer.settings import DataSettings, TrainSettings
from trainer.tensorflow_notices import native_stderr
from trainer.train import train


def settings(**values: object) -> TrainSettings:
    return settings_from(TrainSettings, values)


def build_run(arch: str, images: Path, folder: Path) -> Run:
    """A run whose head is trained on a frozen backbone with random weights; without weights, as a whole."""
    values: dict[str, Any] = {"arch": arch, "batch_size": 8}
    if ARCHITECTURES[arch].pretrained:
        random = settings(arch=arch, weights="none")
        files = sorted(path for path in images.rglob("*") if path.is_file())
        weights = write_weights(random, files[:: max(1, len(files) // 16)][:16], folder / "random.weights.h5")
        values |= {"weights": str(weights), "epochs": 20}
        values |= {"scale": random.own_scale.name} if random.own_scale.name in SCALES else {}  # others aren't probed
    return train(DataSettings(path=images), settings(**values), folder / "run", name="architecture")


def write_weights(settings: TrainSettings, images: Sequence[Path], path: Path) -> Path:
    """Write random weights whose batch normalisation has the statistics of the images, as after a training.

    With the initial statistics all images would get the same logits, and equal answers would prove nothing.
    """
    import keras

    from trainer.model import keras_model

    recipe = settings.recipe()
    with native_stderr():
        whole = keras_model.build_model(settings, 4)
    backbone = whole.get_layer("backbone")
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    pixels = np.stack([recipe.tensor(image.read_bytes()) for image in images])
    backbone(whole.get_layer("scaling")(pixels), training=True)
    backbone.save_weights(path)
    return path


def list_operators(model: Path, folder: Path) -> set[str]:
    """Kinds of operators of the graph after onnxruntime's optimisations that suit every CPU."""
    options = SessionOptions()
    options.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 3
    InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return {node.op_type for node in onnx.load(folder / "optimised.onnx", load_external_data=False).graph.node}


@pytest.mark.long("every network is converted")
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_it_converts_answers_the_same_and_leaves_little_to_do(arch: str, tmp_path: Path):
    run = build_run(arch, build_tiny_dataset(tmp_path / "digits"), tmp_path)
    artifact = convert(run.path, tmp_path / "artifact", ConvertSettings(precision="fp32"))
    session = open_session(artifact, threads=1)
    images = [run.recipe.tensor(sample.path.read_bytes())[np.newaxis] for sample in run.samples()]
    logits = np.concatenate([session.answer(image)["logits"] for image in images])
    # Equal answers prove something only where answers differ.
    spread = float(np.mean(np.std(logits, axis=0)))
    assert spread > 0.1
    assert artifact.manifest.parity.max_abs_error < 1e-3 * spread
    assert check(artifact, open_session(artifact).answer) == CLASSES
    assert "BatchNormalization" not in list_operators(artifact.model_path, tmp_path)
