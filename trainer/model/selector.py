"""Measures the candidates of a training on its training images, and selects one of them.

The scales of a file of weights are measured first, then backbones and sizes of the input. Held-out images decide
nothing. If too few are held out to judge a model by, all images are predicted in nested cross-validation, in which the
selection is repeated for each fold.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from eaves.base.statistics import round_outward
from trainer.data.dataset import Dataset
from trainer.data.listing import LabelledImage
from trainer.model.architectures import SCALES
from trainer.model.candidates import (
    MAX_LOSS,
    CandidateAnswers,
    CandidateFeatures,
    bound_mean,
    choose_candidate,
    compute_features,
    cross_validate,
    estimate_interval,
    list_scales,
    predict_nested,
)
from trainer.model.linear_head import LabelledRows
from trainer.progress import TrainingProgress
from trainer.settings import TrainSettings
from trainer.storage import FileStore

MAX_COMPARED_IMAGES = 500
"""Maximum number of training images that backbones and sizes are compared on."""
MAX_SCALE_IMAGES, MIN_SCALE_IMAGES = 160, 30
"""Maximum number of training images that pixel scales are compared on, and the number below which they are not."""
MIN_HELD_OUT, MAX_NESTED = 100, 600
"""Number of held-out images below which all images are predicted in nested cross-validation, and the maximum number of
these."""
_ADVICE = "set train.scale (--scale) if you know the scale that the weights were trained with"

_logger = logging.getLogger(__name__)


def select(
    candidates: Sequence[TrainSettings],
    dataset: Dataset,
    *,
    features: FileStore,
    unfinished: FileStore,
    fingerprint: str,
    progress: TrainingProgress,
) -> ModelSelection:
    """Select a candidate, after measuring it against the others where there are any, and log the result.

    Args:
        candidates: Result of `list_candidates`.
        dataset: The images.
        features: Storage of cached features and of earlier selections.
        unfinished: Storage of this run's checkpoints; the selection that the run began with is stored beside them.
        fingerprint: Digest of settings, data and code of the training.
        progress: Receives one step for each image that a network sees.

    Raises:
        ConfigError: The weights of a candidate can't be loaded.
        StorageError: The storage can't be read or written.
    """
    selector = _Selector(candidates, dataset, features, progress)
    if not selector.is_needed:
        return ModelSelection(settings=candidates[0])
    compared = [[one.arch, one.side, one.own_scale.name] for one in candidates]
    owner = hashlib.sha256(json.dumps([fingerprint, compared]).encode()).hexdigest()[:32]
    places = ((unfinished, SELECTION_FILE), (features.at("selections"), f"{owner}.json"))
    known = (load_selection(store, name, owner, candidates[0]) for store, name in places)
    selection = next((found for found in known if found), None) or selector.measure()
    for store, name in places:
        save_selection(store, name, owner, selection)
    for line in (*selection.reasons, *selection.render().splitlines()):
        _logger.info("%s", line)
    if selection.doubt:
        _logger.warning("%s", selection.doubt)
    return selection


def describe_rows(dataset: Dataset, examples: Sequence[LabelledImage]) -> LabelledRows:
    """Return classes, groups and weights of some examples of a dataset; each class weighs as in the whole training."""
    counted, wanted = Counter(example.label for example in examples), dataset.class_weights()
    trained, index = dataset.counts("train"), dataset.labels.index
    weights = {label: wanted[index(label)] * trained[label] / count for label, count in counted.items()}
    mean = sum(weights[label] * count for label, count in counted.items()) / len(examples)
    return LabelledRows(
        labels=dataset.truth(examples),
        groups=tuple(example.group_name for example in examples),
        weights=np.array([weights[example.label] / mean for example in examples]),
        classes=len(dataset.labels),
    )


def choose_examples(examples: Sequence[LabelledImage], most: int) -> list[LabelledImage]:
    """Choose training images by their digests, equally of all classes and first one of each group.

    Names and order of the files don't matter.
    """
    of_class: dict[str, list[tuple[int, str, LabelledImage]]] = defaultdict(list)
    before = Counter[tuple[str, str]]()
    for example in sorted(examples, key=lambda example: example.digest):
        if example.split == "train":
            of_class[example.label].append((before[example.label, example.group_name], example.digest, example))
            before[example.label, example.group_name] += 1
    each = max(2, most // max(1, len(of_class)))
    return [row[2] for label in sorted(of_class) for row in sorted(of_class[label], key=lambda row: row[:2])[:each]]


_Measured = tuple[CandidateFeatures, CandidateAnswers]
"""A candidate with the features of some images, and its cross-validated answers."""


class _Selector:
    """The candidates of one training, and what must be measured of them."""

    def __init__(
        self, candidates: Sequence[TrainSettings], dataset: Dataset, store: FileStore, progress: TrainingProgress
    ) -> None:
        self._dataset, self._store, self._progress = dataset, store, progress
        self._limit_s = candidates[0].selection_s
        self._candidates = list(candidates if self._limit_s else candidates[:1])
        self._scales = list_scales(candidates[0])
        frozen, held_out = candidates[0].frozen, sum(dataset.counts("val").values())
        self._compares = frozen and len(self._candidates) > 1
        self._nested = frozen and held_out < MIN_HELD_OUT and len(dataset.examples) <= MAX_NESTED

    @property
    def is_needed(self) -> bool:
        return self._compares or self._nested or len(self._scales) > 1

    def measure(self) -> ModelSelection:
        before = self._measure_scales() if len(self._scales) > 1 else ModelSelection(settings=self._candidates[0])
        if not (self._compares or self._nested):
            return before
        examples = self._dataset.examples
        if self._nested:
            trained, held_out = self._dataset.on("train"), self._dataset.on("val")
        else:
            trained, held_out = choose_examples(examples, MAX_COMPARED_IMAGES), []
        measured, late = self._measure_in_time([*trained, *held_out], len(trained))
        rows = describe_rows(self._dataset, trained)
        chosen, answers = measured[choose_candidate([answers for _, answers in measured], rows)]
        reason = (
            f"selected {chosen.settings.arch} at {chosen.settings.side} pixels, the smallest that loses at most "
            f"{MAX_LOSS:.0%} of the images with 95 % confidence: {answers.accuracy:.3f} of {len(rows.labels)} "
            "training images are right"
        )
        compared = [_describe(one, rows, "selected" if one[0] is chosen else "") for one in measured]
        return ModelSelection(
            settings=chosen.settings,
            reasons=[*before.reasons, *([reason] if len(measured) > 1 else [])],
            doubt=before.doubt,
            images=len(rows.labels),
            figures=[*before.figures, *compared, *late],
            predicted=self._predict(measured, [*trained, *held_out]) if self._nested else None,
        )

    def _measure_scales(self) -> ModelSelection:
        """Take the scale under which most training images are predicted, and warn if another one is about as good."""
        own = self._scales[0].own_scale
        examples = choose_examples(self._dataset.examples, MAX_SCALE_IMAGES)
        if len(examples) < MIN_SCALE_IMAGES:
            doubt = (
                f"train.scale: auto took the network's own, {own.name} (pixels {own.words}), because {len(examples)} "
                f"training images can't tell which scale the file of weights expects; {_ADVICE}"
            )
            return ModelSelection(settings=self._candidates[0], doubt=doubt)
        measured = [self._measure(one, examples, len(examples)) for one in self._scales]
        rows = describe_rows(self._dataset, examples)
        best, answers = max(measured, key=lambda one: one[1].accuracy)
        gains = ((one, other.right.astype(float) - answers.right) for one, other in measured if one is not best)
        close = [one.settings.own_scale.name for one, gain in gains if bound_mean(gain, rows) >= 0]
        scale = best.settings.own_scale
        self._candidates = [replace(one, scale=scale.name) for one in self._candidates]
        reason = (
            f"train.scale: auto took {scale.name} (pixels {scale.words}), under which most of {len(rows.labels)} "
            "training images are predicted by fits to the others"
        )
        return ModelSelection(
            settings=best.settings,
            reasons=[reason],
            doubt=f"{len(examples)} images don't exclude train.scale {' or '.join(close)}; {_ADVICE}" if close else "",
            figures=[_describe(one, rows, "taken" if one[0] is best else "") for one in measured],
        )

    def _measure_in_time(
        self, examples: Sequence[LabelledImage], trained: int
    ) -> tuple[list[_Measured], list[Figures]]:
        """Measure the candidates in order of their cost as long as the time allows; return rows for the others too."""
        measured: list[_Measured] = []
        started, late = time.monotonic(), f"not measured within {self._limit_s:g} s"
        for candidate in self._candidates:
            if measured:
                last, _ = measured[-1]
                expected_s = last.seconds * candidate.gmacs / last.settings.gmacs
                if time.monotonic() - started + expected_s > self._limit_s:
                    break
            measured.append(self._measure(candidate, examples, trained))
        return measured, [_name(one, late) for one in self._candidates[len(measured) :]]

    def _measure(self, candidate: TrainSettings, examples: Sequence[LabelledImage], trained: int) -> _Measured:
        features = compute_features(candidate, examples, self._store, self._progress)
        rows = describe_rows(self._dataset, examples[:trained])
        return features, cross_validate(features.values[:trained], rows)

    def _predict(self, measured: Sequence[_Measured], examples: Sequence[LabelledImage]) -> Mapping[str, int]:
        rows = describe_rows(self._dataset, examples)
        answers = predict_nested([features.values for features, _ in measured], rows)
        return dict(zip((example.digest for example in examples), answers.tolist(), strict=True))


def _describe(measured: _Measured, rows: LabelledRows, note: str) -> Figures:
    features, answers = measured
    return _name(features.settings, note) | {
        "accuracy": answers.accuracy,
        "interval_95": list(estimate_interval(answers.right, rows)),
        "cpu_ms": features.cpu_ms,
        "megabytes": features.megabytes,
        "head": str(answers.recipe),
    }


def _name(settings: TrainSettings, note: str) -> dict[str, Any]:
    return {"arch": settings.arch, "size": settings.side, "scale": settings.own_scale.name, "note": note}


SELECTION_FILE = "selection.json"
"""Name of the file beside a run's checkpoints; a resumed run begins with what is in it."""
_STORED = ("reasons", "doubt", "images", "figures")
"""Fields of a selection that its file has as they are."""
COLUMNS = ("network", "input", "pixels", "accuracy (95 % interval)", "CPU ms", "MB", "head", "")

Figures = Mapping[str, Any]
"""A row of the table: `arch`; `size` of the input in pixels; name of the `scale`; and a `note`, such as `selected`, or
why the candidate was not measured. If it was: `accuracy`, the share of the images that the best head on the candidate's
features gets right in cross-validation, with the classes' weights; its `interval_95`, [lower end, upper end]; `cpu_ms`,
TensorFlow's processor time for one image; `megabytes` of weights as 32-bit floats; the best `head` as text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSelection:
    """What a training begins with, and why.

    Attributes:
        settings: Settings of the training with the selected architecture, side of the input and pixel scale.
        reasons: Sentences without a full stop.
        doubt: Sentence without a full stop that a person should act on; empty for none.
        images: Number of training images that candidates were compared on.
        figures: The table's rows: first the scales, if they were measured, then backbones and sizes.
        predicted: Index of the class that each image got in nested cross-validation, by the image's digest; None if
            enough images are held out.
    """

    settings: TrainSettings
    reasons: Sequence[str] = field(default_factory=list)
    doubt: str = ""
    images: int = 0
    figures: Sequence[Figures] = field(default_factory=list)
    predicted: Mapping[str, int] | None = None

    def render(self) -> str:
        """Return the table as text, one line for each row; empty if nothing was measured."""
        rows = [COLUMNS, *map(describe_row, self.figures)] if self.figures else []
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(map(str.ljust, row, widths)) for row in rows)
        return "\n".join(line.rstrip() for line in lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the selection as plain data for run.json, without the predictions."""
        scale = self.settings.own_scale
        chosen = {"arch": self.settings.arch, "image_size": self.settings.image_size, "scale": scale.name}
        return chosen | {"pixels_become": scale.words} | {name: getattr(self, name) for name in _STORED}


def describe_row(row: Figures) -> list[str]:
    """Return a row of the table as texts, in the order of `COLUMNS`."""
    figures = [""] * 4
    if "accuracy" in row:
        low, high = round_outward(row["interval_95"], 2)
        accuracy = f"{row['accuracy']:.3f} ({low:.2f} to {high:.2f})"
        figures = [accuracy, f"{row['cpu_ms']:.0f}", f"{row['megabytes']:.0f}", row["head"]]
    return [row["arch"], str(row["size"]), row["scale"], *figures, row["note"]]


def save_selection(store: FileStore, name: str, owner: str, selection: ModelSelection) -> None:
    """Store a selection; `owner` is the digest of everything that it depends on."""
    values = {"owner": owner, "selection": selection.to_dict(), "predicted": selection.predicted}
    store.write(name, json.dumps(values).encode())


def load_selection(store: FileStore, name: str, owner: str, settings: TrainSettings) -> ModelSelection | None:
    """Load the selection of this owner, for a training of these settings; None when there is none.

    Raises:
        StorageError: The storage can't be read.
    """
    stored = json.loads(store.read(name)) if store.exists(name) else {}
    if stored.get("owner") != owner:
        return None
    values = stored["selection"]
    scale = values["scale"] if values["scale"] in SCALES else "auto"
    chosen = replace(settings, arch=values["arch"], image_size=values["image_size"], scale=scale)
    return ModelSelection(settings=chosen, predicted=stored["predicted"], **{name: values[name] for name in _STORED})
