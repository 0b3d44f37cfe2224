"""Compares two runs: their settings, and their accuracy on images that neither was trained on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from converters.evaluation.labelled_images import (
    LabelledImages,
    leave_out_copies,
    load_labelled_images,
    with_groups,
)
from converters.evaluation.metrics import Evaluation, evaluate
from converters.evaluation.paired_comparison import Pairing, pair
from converters.evaluation.trained_images import find_trained_looks
from eaves.errors import DatasetError, StorageError
from trainer.data.reading import find_local
from trainer.data.split.stored_split import SPLIT_FILE
from trainer.evaluation import ACCURACY
from trainer.progress import TrainingProgress
from trainer.run.run import Run, open_run
from trainer.settings import DataSettings
from trainer.storage import is_uri
from trainer.tensorflow_notices import native_stderr


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """Facts about a run that a comparison shows.

    Attributes:
        run: The run.
        settings: Value of each setting by `section.name`.
        history: Figures of each epoch.
        figure: Name of the figure that the run is judged by: `accuracy` or `mean recall`.
        accuracy: The figure on the run's own held-out images.
        interval: 95 % confidence interval of the figure.
        held_out: Number of the run's held-out images.
        trained_on: Number of images that the run was trained on.
        size_bytes: Size of the SavedModel in bytes.
        training_s: Duration of the fit in seconds.
    """

    run: Run
    settings: Mapping[str, Any]
    history: tuple[Mapping[str, float], ...]
    figure: str
    accuracy: float
    interval: tuple[float, float]
    held_out: int
    trained_on: int
    size_bytes: int
    training_s: float

    @property
    def name(self) -> str:
        """Name of the run, for people."""
        return self.run.path.name

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as plain data for JSON."""
        return {
            "run": str(self.run.path),
            "version": self.run.version,
            "figure": self.figure,
            "accuracy": self.accuracy,
            "accuracy_interval_95": list(self.interval),
            "held_out": self.held_out,
            "trained_on": self.trained_on,
            "size_bytes": self.size_bytes,
            "training_s": self.training_s,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingDifference:
    """A setting with different values in two runs; None if a run doesn't have it."""

    setting: str
    first: Any
    second: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """Result of comparing two runs: their settings, and their answers to the same images.

    Attributes:
        runs: Facts about each run.
        settings: The settings that differ.
        evaluations: Evaluation of each run on the images that both hold out; empty when they could not be compared.
        pairing: Difference of the second run's answers from the first's; None when they could not be compared.
        not_paired: Reason why the runs could not be compared on the same images; empty when they were.
        copies: Number of images that both hold out and that are left out, because they are copies of images that one
            of them was trained on.
        notes: One sentence without a full stop for each run whose training images can't be read any more.
    """

    runs: tuple[RunFacts, RunFacts]
    settings: tuple[SettingDifference, ...]
    evaluations: tuple[Evaluation, ...] = ()
    pairing: Pairing | None = None
    not_paired: str = ""
    copies: int = 0
    notes: tuple[str, ...] = ()

    def confusion_difference(self) -> list[list[int]]:
        """Return the second run's confusion matrix less the first's: rows are truth, columns are predictions."""
        if not self.evaluations:
            return []
        first, second = (evaluation.measured["confusion"] for evaluation in self.evaluations)
        return [
            [int(b) - int(a) for a, b in zip(one, other, strict=True)] for one, other in zip(first, second, strict=True)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain data for JSON."""
        return {
            "runs": [run.to_dict() for run in self.runs],
            "settings": [
                {"setting": item.setting, "first": item.first, "second": item.second} for item in self.settings
            ],
            "on_the_same_images": [evaluation.to_dict() for evaluation in self.evaluations],
            "pairing": self.pairing.to_dict() if self.pairing else None,
            "not_paired": self.not_paired,
            "copies_left_out": self.copies,
            "trained_on_notes": list(self.notes),
            "labels": list(self.runs[0].run.labels),
            "confusion_difference": self.confusion_difference(),
        }


def compare(first: Path, second: Path, data: str, progress: TrainingProgress) -> RunComparison:
    """Compare two runs.

    Args:
        first: Directory of a run.
        second: Directory of another run.
        data: Path or URI of the labelled images; empty means the images of the first run.
        progress: Receives one step for each image.

    Raises:
        RunError: One of the directories holds no complete run.
    """
    runs = (_load_facts(first), _load_facts(second))
    found = RunComparison(runs=runs, settings=tuple(_differences(runs[0].settings, runs[1].settings)))
    try:
        images = _load_shared(runs, data, progress)
    except (DatasetError, StorageError) as error:
        return replace(found, not_paired=error.message)

    with native_stderr():  # TensorFlow's libraries write to stderr
        from converters.evaluation.run_model import RunModel

        models = [RunModel(facts.run.path) for facts in runs]
    evaluations = tuple(evaluate(model, images, progress) for model in models)
    return replace(found, evaluations=evaluations, pairing=pair(*evaluations), copies=images.copies, notes=images.notes)


def _load_shared(runs: tuple[RunFacts, RunFacts], data: str, progress: TrainingProgress) -> LabelledImages:
    """Load the images that both runs hold out, from `data` or from the location of the first run's images.

    Raises:
        DatasetError: No image is held out by both runs; the message gives the reason.
        StorageError: A URI can't be reached, or the disk is full.
    """
    first, second = (facts.run for facts in runs)
    if first.labels != second.labels:
        raise DatasetError("the runs have different classes")
    splits = [run.split() or {} for run in (first, second)]
    for run, split in zip((first, second), splits, strict=True):
        if not split:
            raise DatasetError(
                f"the run {run.path.name} does not list the images that it was trained on: it was made by an "
                f"earlier version of Eaves and has no {SPLIT_FILE}"
            )
    held_out = [{d for d, entry in split.items() if entry.split == "val"} for split in splits]
    shared = held_out[0] & held_out[1]
    if not shared:
        raise DatasetError("the runs have no held-out image in common")
    place = str(data or runs[0].settings.get("data.path", ""))
    if not place or not (is_uri(place) or Path(place).exists()):
        raise DatasetError(f"the images are not at {place or 'any known path'}; name their path with --data")
    trained_on = {d for split in splits for d, entry in split.items() if entry.split == "train"}
    cache = first.path.absolute().parent / ".cache"
    path, faults = find_local(DataSettings(path=place), cache=cache, progress=progress)
    found = with_groups(load_labelled_images(path, trained_on, faults), splits)
    left = tuple(image for image in found.images if image.digest in shared)
    if not left:
        raise DatasetError(f"none of the {len(shared)} images that both runs hold out is in {place}")
    places = [str(facts.settings.get("data.path", "")) for facts in runs]
    looks = find_trained_looks(trained_on, path, places, cache=cache, progress=progress)
    return leave_out_copies(replace(found, images=left), looks, progress)


def _load_facts(path: Path) -> RunFacts:
    run = open_run(path)
    measured = run.metrics()
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    settings = {f"{section}.{name}": value for section, values in config.items() for name, value in values.items()}
    for name in ("arch", "image_size", "scale"):
        if name in run.selection:  # what was selected for two runs may differ
            settings[f"train.{name}"] = run.selection[name]
    # A run of an earlier version of Eaves was judged by its accuracy.
    figure = measured.get("figure", {"name": ACCURACY, "value": measured["val_accuracy"]})
    low, high = figure.get("interval_95", measured["val_accuracy_interval_95"])
    return RunFacts(
        run=run,
        settings=settings,
        history=tuple(json.loads((path / "history.json").read_text(encoding="utf-8"))),
        figure=figure["name"],
        accuracy=figure["value"],
        interval=(low, high),
        held_out=measured["val_images"],
        trained_on=sum(run.dataset["train"].values()),
        size_bytes=sum(entry["size_bytes"] for name, entry in run.files.items() if name.startswith("model/")),
        training_s=measured.get("seconds", {}).get("fit", 0.0),
    )


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[SettingDifference]:
    for setting in sorted({*first, *second}):
        one, other = first.get(setting), second.get(setting)
        if one != other:
            yield SettingDifference(setting=setting, first=one, second=other)
