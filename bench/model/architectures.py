"""Benchmark that converts a model of every architecture; it prints the table in docs/02-conversion.md as Markdown.

The models have random weights, because size, operators and time don't depend on weights. Their batch normalisation has
the statistics of the benchmark's images, as it has after a training. With the initial statistics (mean 0, variance 1)
the activations become almost zero over fifty layers, so all images would get the same logits and parity would prove
nothing.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.measure.timing import median_ms
from converters.convert import convert
from converters.settings import ConvertSettings
from eaves.artifact import Artifact
from eaves.config import SettingsLayer, build
from eaves.inference.session import open_session
from trainer.model.architectures import ARCHITECTURES
from trainer.model.scales import SCALES
from trainer.run.run import Run
from trainer.settings import DataSettings, TrainSettings
from trainer.tensorflow_notices import native_stderr
from trainer.train import build_environment, train

CLASSES, PER_CLASS = 4, 12
CALIBRATION = 16
"""Number of images that the statistics of batch normalisation are computed from."""
RUNS = 30
"""Number of runs of one image; the table has the median of their times."""
HEAD = """\
| `arch` | input | parameters, M | ONNX, MB | logits differ by at most | of a spread of | operators | transposes | ms |
|---|---|---|---|---|---|---|---|---|"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the table: the measurements of one architecture.

    Attributes:
        arch: Name of the architecture, as for `--arch`.
        size: Side of the input, pixels.
        parameters: Number of parameters of the network with its head of four classes.
        size_bytes: Size of the model file and its weights, bytes.
        max_abs_error: Maximum absolute difference of a logit between TensorFlow and onnxruntime.
        spread: Standard deviation of a logit over the images, averaged over the classes; `max_abs_error` is small if it
            is small relative to this.
        operators: Number of operators of each kind in the graph after onnxruntime's optimisations that suit every CPU.
        image_ms: CPU time of one image through the session, on one thread, ms.
    """

    arch: str
    size: int
    parameters: int
    size_bytes: int
    max_abs_error: float
    spread: float
    operators: Counter[str]
    image_ms: float

    def render(self) -> str:
        """Return the row as a line of Markdown."""
        cells = [f"`{self.arch}`", str(self.size), f"{self.parameters / 1e6:.2f}", f"{self.size_bytes / 1e6:.1f}"]
        cells += [f"{self.max_abs_error:.1e}", f"{self.spread:.2f}", str(self.operators.total())]
        cells += [str(self.operators["Transpose"]), f"{self.image_ms:.1f}"]
        return f"| {' | '.join(cells)} |"


def main() -> None:
    """Convert and measure a model of every architecture, and print the table."""
    for variable, value in build_environment().items():
        os.environ.setdefault(variable, value)
    with native_stderr():
        import keras  # noqa: F401 - its messages are printed here
    print(HEAD, flush=True)
    for arch in ARCHITECTURES:
        with tempfile.TemporaryDirectory() as folder:
            images = write_images(Path(folder, "images"))
            run = build_run(arch, images, Path(folder))
            row = measure(run, convert(run.path, Path(folder, "artifact"), ConvertSettings(precision="fp32")))
        print(row.render(), flush=True)


def write_images(folder: Path, *, suffix: str = "png") -> Path:
    """Write random images into one directory per class, with a different colour for each class; return `folder`.

    `suffix` is the suffix of the files and decides their format.
    """
    random = np.random.default_rng(0)
    for number in range(CLASSES * PER_CLASS):
        label = number % CLASSES
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (16, 16, 3)) * np.array([[1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]])[label]
        small = Image.fromarray(pixels.astype(np.uint8))
        small.resize((400, 400), Image.Resampling.BICUBIC).save(folder / str(label) / f"{number}.{suffix}")
    return folder


def build_run(arch: str, images: Path, folder: Path) -> Run:
    """Make a run with an untrained backbone, in the same form as a training writes it, in `folder`/run.

    Only the head is trained, on the frozen backbone. An architecture without initial weights is trained as a whole.
    """
    values: dict[str, Any] = {"arch": arch, "batch_size": 8}
    if ARCHITECTURES[arch].pretrained:
        random = _settings(arch=arch, weights="none")
        weights = _write_weights(random, images, folder / "random.weights.h5")
        values |= {"weights": str(weights), "epochs": 20}
        values |= {"scale": random.own_scale.name} if random.own_scale.name in SCALES else {}  # others aren't probed
    return train(DataSettings(path=images), _settings(**values), folder / "run", name="architecture")


def measure(run: Run, artifact: Artifact) -> Row:
    """Measure size, operators and time of a converted model, and its deviation from the original model of the run."""
    import keras

    session = open_session(artifact, threads=1)
    images = np.stack([run.recipe.tensor(sample.path.read_bytes()) for sample in run.samples()])
    logits = np.concatenate([session.run(image[np.newaxis])[0] for image in images])
    network = keras.saving.load_model(run.path / "model.keras", compile=False)
    model = artifact.model_path
    return Row(
        arch=run.arch,
        size=run.recipe.height,
        parameters=network.count_params() - network.get_layer("head_temperature").count_params(),
        size_bytes=sum(file.stat().st_size for file in [model, *model.parent.glob("weights/*")]),
        max_abs_error=artifact.manifest.parity.max_abs_error,
        spread=float(np.mean(np.std(logits, axis=0))),
        operators=count_operators(model),
        image_ms=median_ms(lambda: session.run(images[:1]), runs=RUNS, warmup=3, clock=time.thread_time),
    )


def count_operators(model: Path) -> Counter[str]:
    """Count the operators of the graph after onnxruntime's optimisations that suit every CPU (level EXTENDED)."""
    import onnx

    from eaves.onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions

    with tempfile.TemporaryDirectory() as folder:
        options = SessionOptions()
        options.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(Path(folder, "optimised.onnx"))
        options.log_severity_level = 3
        InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        optimised = onnx.load(options.optimized_model_filepath, load_external_data=False)
    return Counter(str(node.op_type) for node in optimised.graph.node)


def _settings(**values: Any) -> TrainSettings:
    return build(TrainSettings, SettingsLayer(origin="benchmark", values=values))


def _write_weights(settings: TrainSettings, images: Path, path: Path) -> Path:
    """Write random weights whose batch normalisation has the statistics of the given images; return `path`."""
    import keras

    from trainer.model import keras_model

    recipe = settings.recipe()
    with native_stderr():
        whole = keras_model.build_model(settings, settings.own_scale, CLASSES)
    backbone = whole.get_layer("backbone")
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    files = sorted(path for path in images.rglob("*") if path.is_file())
    chosen = files[:: max(1, len(files) // CALIBRATION)][:CALIBRATION]
    pixels = np.stack([recipe.tensor(file.read_bytes()) for file in chosen])
    backbone(whole.get_layer("scaling")(pixels), training=True)
    backbone.save_weights(path)
    return path
