"""Writes the files of a run besides the model: its properties and provenance, measurements, samples and report."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np

from eaves.artifact.store import file_digest
from eaves.resource_limits import count_usable_cpus
from trainer.calibration import prior_correction, softmax
from trainer.data.dataset import Dataset
from trainer.data.listing import DRAWN, LabelledImage
from trainer.data.splitting import CONFIG, HELD_OUT_FILE, SPLIT_FILE, HeldOutAnswer, render_lines
from trainer.model.candidates import INFLATION
from trainer.model.checkpoint import TrainingIdentity
from trainer.run.metrics import measure_quality, summarize
from trainer.run.model_quality import describe_trained, rate_model
from trainer.run.report import build_report
from trainer.run.run import render_json
from trainer.settings import DataSettings, TrainSettings

if TYPE_CHECKING:
    from trainer.model.fit import TrainingResult, TrainingTask

NOT_DECIDING = ("checkpoint_s", "cache", "weights", "split", "usable_accuracy")
"""Settings that are left out when two trainings are compared. They don't change the trained model, or (`weights`,
`split`) are compared by the content of the named files and not by their location."""


PACKAGES = ("eaves", "trainer")
"""Python packages of Eaves whose code a training executes."""
MAX_PER_CLASS = 4
"""Maximum number of images of each class; it is reduced, but not below 1, for `MAX_SAMPLES` in all."""
MAX_SAMPLES = 64
"""Maximum number of images of all classes together; with more classes than this, each class has one image."""


class PhaseTimer:
    """Measures the seconds of each phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure how long the block takes, and store the seconds under the phase's name."""
        started = monotonic()
        yield
        self.seconds[name] = round(monotonic() - started, 2)


def build_identity(data: DataSettings, settings: TrainSettings, dataset: Dataset) -> TrainingIdentity:
    """Return the settings and digests that decide the outcome of a training."""
    config = {key: value for key, value in settings.to_dict().items() if key not in NOT_DECIDING}
    described = describe_weights(settings)
    weights = {key: described[key] for key in ("kind", "file_sha256") if key in described}
    return TrainingIdentity(
        config=config | {"weights": weights, "balance": data.balance},
        dataset=dataset.digest(),
        code=code_digest(),
    )


def describe_weights(settings: TrainSettings) -> dict[str, str]:
    """Return the kind of the backbone's initial weights and, for an existing file, its name and sha256.

    Weights that a distribution holds have their `origin` and `licence` too.
    """
    kind, packaged = settings.weights_kind, settings.architecture.packaged
    path = Path(settings.weights) if kind == "file" else packaged.find() if packaged and kind == "imagenet" else None
    if path is None or not path.is_file():
        return {"kind": kind}
    digest = file_digest(path)
    known = {"origin": packaged.origin, "licence": packaged.licence} if packaged and digest == packaged.sha256 else {}
    return {"kind": kind, "file": path.name, "file_sha256": digest, **known}


def write_records(
    work: Path,
    name: str,
    task: TrainingTask,
    fitted: TrainingResult,
    config: Mapping[str, Mapping[str, Any]],
    clock: PhaseTimer,
) -> dict[str, Any]:
    """Measure a trained model and write all files of its run but run.json.

    Args:
        work: Directory of the unfinished run.
        name: Name of the model.
        task: The training; its model gets the calibration.
        fitted: Result of the training.
        config: Name of each section to its settings, as they were given.
        clock: Timer of the training's phases.

    Returns:
        about: Content of run.json except for the list of files.
    """
    from trainer.model import keras_model as models

    dataset, model, label_weights = task.dataset, fitted.model or task.model, task.dataset.label_weights()
    held_out = dataset.on("val")
    measured = measure_quality(
        dataset.truth(held_out),
        fitted.val_logits,
        dataset.labels,
        label_weights=label_weights,
        is_balanced=dataset.is_balanced or bool(fitted.figures),
        groups=[example.group_name for example in held_out],
        lookalikes=np.array([example.digest in dataset.lookalikes for example in held_out], np.bool_),
    )
    # A split that the data declare with the same pictures on both sides is a fault that a person must mend.
    if task.selection.predicted and not (dataset.declared and dataset.lookalikes):
        crossed = [example for example in dataset.examples if example.digest in task.selection.predicted]
        measured["cross_validation"] = summarize(
            dataset.truth(crossed),
            np.array([task.selection.predicted[example.digest] for example in crossed], np.int64),
            dataset.labels,
            groups=[example.group_name for example in crossed],
            is_balanced=dataset.is_balanced,
            inflation=INFLATION,
        )
    if fitted.figures:
        measured["anomaly"] = fitted.figures
    if fitted.crossed is not None:
        truth, predicted, groups = fitted.crossed
        measured["cross_validation"] = summarize(truth, predicted, dataset.labels, groups=groups, is_balanced=True)
    bias = prior_correction(label_weights)
    models.set_calibration(model, measured["temperature"], bias)
    with clock.phase("save"):
        models.save_saved_model(model, work / "model")
        model.save(work / "model.keras")
    about = _describe_run(name, task, fitted, measured)
    about["weights"] |= {"backbone_sha256": models.weights_digest(model.get_layer("backbone"))}
    scores = softmax(fitted.val_logits, measured["temperature"], bias)
    answers = [
        HeldOutAnswer(
            digest=image.digest,
            file=image.name,
            label=image.label,
            predicted=dataset.labels[best],
            score=float(of_image[best]),
            group=image.group,
        )
        for image, best, of_image in zip(held_out, np.argmax(fitted.val_logits, axis=1), scores, strict=True)
    ]
    for file, content in fitted.files.items():
        (work / file).write_bytes(content)
    (work / "labels.txt").write_text("".join(f"{label}\n" for label in dataset.labels), encoding="utf-8")
    (work / SPLIT_FILE).write_text(render_lines(dataset.split_entries()), encoding="utf-8")
    (work / HELD_OUT_FILE).write_text(render_lines(answers), encoding="utf-8")
    for file, values in (
        ("recipe.json", about["recipe"]),
        (CONFIG, config),
        ("history.json", fitted.history),
        ("samples.json", copy_samples(dataset, work)),
        ("metrics.json", measured | {"seconds": clock.seconds}),
    ):
        (work / file).write_bytes(render_json(values))
    report = build_report(
        about, measured, history=fitted.history, answers=answers, seconds=clock.seconds, config=config
    )
    (work / "report.html").write_text(report, encoding="utf-8", errors="backslashreplace")
    return about


def _describe_run(name: str, task: TrainingTask, fitted: TrainingResult, measured: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of run.json except for what only Keras knows and the list of files."""
    settings, dataset, identity = task.settings, task.dataset, task.checkpoints.identity
    epochs, rate = settings.schedule()
    distributions = ((one.metadata["Name"].lower(), one.version) for one in metadata.distributions())
    crossed = measured.get("cross_validation")
    quality = rate_model(crossed or measured, usable_accuracy=settings.usable_accuracy)
    evidence = "cross-validated" if crossed else "held-out"
    if crossed and fitted.figures:
        evidence += " (half with drawn defects)"
    verdict = describe_trained(quality, arch=settings.arch, evidence=evidence)
    real = [one for kind, one in fitted.figures.get("kinds", {}).items() if "auroc" in one and kind != DRAWN]
    if crossed and real:  # the figure is of drawn ones
        alarms, images = sum(one["alarms"] for one in real), sum(one["images"] for one in real)
        verdict = replace(verdict, text=f"{verdict.text}; {alarms} of {images} images of real defects raise an alarm")
    return {
        "name": name,
        "task": settings.task,
        "arch": settings.arch,
        "mode": settings.resolved_mode,
        "epochs": epochs,
        "learning_rate": rate,
        "weights": describe_weights(settings),
        "labels": list(dataset.labels),
        "recipe": settings.recipe().to_dict(),
        "head": fitted.head,
        "selection": task.selection.to_dict(),
        "dataset": {
            "sha256": dataset.digest(),
            "split": "declared" if dataset.declared else "content",
            "train": dataset.counts("train"),
            "val": dataset.counts("val"),
            "groups": dataset.groups,
            "split_of": dataset.split_of,
            "notes": list(dataset.notes),
            "root": str(dataset.root),
        },
        "data_faults": [asdict(fault) for fault in dataset.faults],
        "val_accuracy": measured["val_accuracy"],
        "verdict": verdict.to_dict(),
        "calibration": measured["calibration"],
        "fingerprint": identity.fingerprint,
        "code": identity.code,
        "versions": {"python": platform.python_version(), **dict(sorted(distributions))},
        "hardware": {
            "processor": platform.processor() or platform.machine(),
            "CPUs usable": str(count_usable_cpus()),
            "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        },
    }


def choose_samples(dataset: Dataset) -> list[LabelledImage]:
    """Choose held-out images of every class that has some; the same dataset gives the same images.

    There are at most `MAX_SAMPLES` of them, or one of each class.
    """
    per_class = max(1, min(MAX_PER_CLASS, MAX_SAMPLES // len(dataset.labels)))
    chosen: list[LabelledImage] = []
    for label in dataset.labels:
        of_class = [item for item in dataset.on("val") if item.label == label]
        chosen += sorted(of_class, key=lambda item: item.digest)[:per_class]
    return chosen


def copy_samples(dataset: Dataset, folder: Path) -> dict[str, Any]:
    """Copy the images of `choose_samples` to `folder`/samples; return `label` and `sha256` of each by its path."""
    (folder / "samples").mkdir()
    listing = {}
    for number, item in enumerate(choose_samples(dataset)):
        name = f"samples/{number:03d}{item.path.suffix.lower()}"
        shutil.copyfile(item.path, folder / name)
        listing[name] = {"label": item.label, "sha256": item.digest}
    return listing


@cache
def code_digest() -> str:
    """Return the sha256, hex, of the names and contents of all modules in `PACKAGES`."""
    root, digest = Path(__file__).parents[2], hashlib.sha256()
    for file in sorted(file for package in PACKAGES for file in (root / package).rglob("*.py")):
        digest.update(f"{file.relative_to(root).as_posix()}\0{file_digest(file)}\n".encode())
    return digest.hexdigest()
