"""Training from beginning to end: the one function that the command line and a Job call."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer import metrics, pixels, samples
from trainer.dataset import Dataset, scan
from trainer.progress import Progress, Silent
from trainer.quiet import native_stderr
from trainer.run import Run, build_name, finish, new_run, write_json
from trainer.settings import DataSettings, TrainSettings

if TYPE_CHECKING:
    from trainer.fit import Fitted

ENVIRONMENT = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
"""What the entry point of a process that trains sets before this module's `train` imports TensorFlow."""
LIBRARIES = ("tensorflow", "keras", "numpy", "pillow")


def train(
    data: DataSettings,
    settings: TrainSettings,
    output: Path,
    *,
    name: str | None = None,
    progress: Progress | None = None,
) -> Run:
    """Train a model and leave a run.

    Args:
        data: Where the images are.
        settings: How to train.
        output: The run's directory; it must not exist yet, or be empty.
        name: Of the model; None: made from the output's name.
        progress: Told how far it is.

    Raises:
        DatasetError: No usable images.
        RunError: The output is taken.
        ConfigError: Weights that can't be loaded.
    """
    progress, clock, recipe = progress or Silent(), _Clock(), settings.recipe()
    with new_run(output) as work, ExitStack() as stack:
        with clock.phase("hash"):
            dataset = scan(data.path, val_fraction=settings.val_fraction, seed=settings.seed, progress=progress)
        with clock.phase("decode"):
            decoded = stack.enter_context(pixels.decode(dataset, recipe, progress))
        with clock.phase("import_tensorflow"), native_stderr():
            from trainer import fit
            from trainer import model as models
        with clock.phase("build"), native_stderr():
            model = models.build_model(settings, recipe, len(dataset.labels))
        with clock.phase("fit"):
            fitted = (fit.fit_head if settings.frozen else fit.fit_full)(model, decoded, settings, progress)
        with clock.phase("save"):
            models.save_saved_model(model, work / "model")
            models.save_keras(model, work / "model.keras")
        _write_records(work, data, settings, decoded, fitted, clock)
        weights = _describe_weights(settings) | {"backbone_sha256": models.backbone_digest(model)}
        measured = _measure(decoded, fitted)
        return finish(
            work, output, _describe(name or build_name(output.name), settings, decoded.dataset, weights, measured)
        )


class _Clock:
    """Seconds per phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        started = monotonic()
        yield
        self.seconds[name] = round(monotonic() - started, 2)


def _measure(decoded: pixels.Decoded, fitted: Fitted) -> dict[str, Any]:
    truth = decoded.labels[decoded.rows("val")]
    return metrics.summarise(truth, np.argmax(fitted.val_logits, axis=1), decoded.dataset.labels)


def _write_records(
    work: Path, data: DataSettings, settings: TrainSettings, decoded: pixels.Decoded, fitted: Fitted, clock: _Clock
) -> None:
    """Everything in a run that is neither the model nor run.json."""
    (work / "labels.txt").write_text("".join(f"{label}\n" for label in decoded.dataset.labels), encoding="utf-8")
    write_json(work / "recipe.json", settings.recipe().to_dict())
    write_json(work / "config.json", {"data": data.to_dict(), "train": settings.to_dict()})
    write_json(work / "history.json", fitted.history)
    write_json(work / "samples.json", samples.copy(decoded.dataset, work))
    write_json(work / "metrics.json", _measure(decoded, fitted) | {"seconds": clock.seconds})


def _describe_weights(settings: TrainSettings) -> dict[str, str]:
    kind = settings.weights_kind
    if kind != "file":
        return {"kind": kind}
    path = Path(settings.weights)
    with path.open("rb") as stream:
        return {"kind": kind, "file": path.name, "file_sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def _describe(
    name: str, settings: TrainSettings, dataset: Dataset, weights: dict[str, str], measured: dict[str, Any]
) -> dict[str, Any]:
    """What run.json says beside its files."""
    epochs, rate = settings.schedule()
    return {
        "name": name,
        "arch": settings.arch,
        "mode": "frozen" if settings.frozen else "full",
        "epochs": epochs,
        "learning_rate": rate,
        "weights": weights,
        "labels": list(dataset.labels),
        "recipe": settings.recipe().to_dict(),
        "dataset": {
            "sha256": dataset.digest(),
            "split": "declared" if dataset.declared else "content",
            "train": dataset.counts("train"),
            "val": dataset.counts("val"),
        },
        "data_faults": [asdict(fault) for fault in dataset.faults],
        "val_accuracy": measured["val_accuracy"],
        "versions": {
            "python": platform.python_version(),
            **{library: metadata.version(library) for library in LIBRARIES},
        },
    }
