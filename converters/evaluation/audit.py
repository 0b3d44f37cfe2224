"""Judges models that serve, or are about to, by the labelled photos of a dataset's audit sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from converters.evaluation.images import LabelledImages, find_trained_on, load_audit
from converters.evaluation.metrics import Evaluation, evaluate, pair
from converters.evaluation.models import ArtifactModel, EvaluatedModel
from eaves.base.statistics import round_outward
from eaves.rollout import AuditCounts
from trainer.grouped_statistics import JudgedImages
from trainer.progress import TrainingProgress
from trainer.storage import FileStore


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditResult:
    """What the audit sample says of the model that serves, and of a new one beside it.

    Attributes:
        text: Figures of the model that serves, for people; empty when no photo is labelled.
        counts: Comparison with the new model; empty without one.
    """

    text: str
    counts: AuditCounts


def load_unseen_audit(
    folder: Path, models: Sequence[EvaluatedModel], runs: FileStore, *, progress: TrainingProgress
) -> LabelledImages:
    """Load the labelled photos of the audit sample that no model was trained on; maybe none.

    A photo that was trained on before its copy joined the audit sample is known where the model's run is.

    Args:
        folder: Folder of the dataset.
        models: The models.
        runs: Storage of runs.
        progress: Receives one step for each photo.

    Raises:
        DatasetError: The photos can't be read.
    """
    found, seen = load_audit(folder, good=models[0].good, progress=progress), set[str]()
    for model in models:
        known = model.trained_on if model.trained_on is not None else find_trained_on(model.version, runs)
        seen |= known or frozenset()
    return replace(
        found,
        images=tuple(image for image in found.images if image.digest not in seen),
        trained=tuple(image for image in found.images if image.digest in seen),
    )


def judge_by_audit(models: Sequence[Path], folder: Path, runs: FileStore, *, progress: TrainingProgress) -> AuditResult:
    """Judge the artifact that serves, and compare a new one with it, on photos that neither was trained on.

    Args:
        models: Directory of the artifact that serves, and maybe that of the new one.
        folder: Folder of the dataset.
        runs: Storage of runs.
        progress: Receives one step for each photo.

    Raises:
        EavesError: The photos or an artifact can't be read.
    """
    opened = [ArtifactModel(path) for path in models]
    found = load_unseen_audit(folder, opened, runs, progress=progress)
    if not found.images:
        return AuditResult(text="", counts=AuditCounts())
    evaluations = [evaluate(model, found, progress) for model in opened]
    counts = count_pairs(*evaluations) if evaluations[1:] else AuditCounts()
    return AuditResult(text=describe_audit(evaluations[0]), counts=counts)


def count_pairs(old: Evaluation, new: Evaluation) -> AuditCounts:
    """Count the groups of photos that tell two models apart; a photo without a group is one."""
    pairing = pair(old, new)
    balance = np.bincount(pairing.judged.groups, pairing.second.astype(np.float64) - pairing.first)
    return AuditCounts(images=len(balance), lost=int((balance < 0).sum()), gained=int((balance > 0).sum()))


def describe_audit(evaluation: Evaluation) -> str:
    """Return a line with the share of right answers, its interval, and the calibration error."""
    pairs = zip(evaluation.images, evaluation.answers, strict=True)
    right = np.array([image.label == answer.label for image, answer in pairs])
    estimate = JudgedImages([image.group_name for image in evaluation.images]).estimate(right)
    low, high = round_outward((estimate.low, estimate.high), 2)
    return (
        f"right on {right.sum()} of {len(right)} audit images ({low:.0%} to {high:.0%} with 95 % confidence), "
        f"calibration error {evaluation.calibration_error:.2f}"
    )
