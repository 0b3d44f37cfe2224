"""Measures a model on the held-out images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from eaves.base.statistics import wilson
from trainer.evaluation.calibration import prior_correction
from trainer.evaluation.temperature import calibrate


def measure_quality(
    truth: npt.NDArray[np.int64],
    logits: npt.NDArray[np.float32],
    labels: Sequence[str],
    *,
    label_weights: Sequence[float] = (),
    groups: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return the model's part of metrics.json: the result of `summarize`, the temperature and the evidence for it.

    Args:
        truth: (N,) int64, label of every held-out image.
        logits: (N, classes) float32, the model's logits for these images.
        labels: Class names.
        label_weights: Weights of the decision rule, in the order of `labels`; empty without class weights.
        groups: Name of each image's group; None means that every image is a group of its own.
    """
    calibration = calibrate(logits, truth, prior_correction(label_weights), groups)
    return summarize(truth, np.argmax(logits, axis=1), labels) | {
        "decision": {"label_weights": list(label_weights)},
        "temperature": calibration.temperature,
        "calibration": calibration.to_dict(),
    }


def summarize(truth: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], labels: Sequence[str]) -> dict[str, Any]:
    """Return accuracy, confusion matrix, and precision and recall for each class.

    Args:
        truth: (N,) int64, label of every image.
        predicted: (N,) int64, label that the model predicts for every image.
        labels: Class names.
    """
    confusion = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(confusion, (truth, predicted), 1)
    right, total = int(np.trace(confusion)), len(truth)
    return {
        "val_accuracy": right / total,
        "val_accuracy_interval_95": list(wilson(right, total)),
        "val_images": total,
        "labels": list(labels),
        "confusion": confusion.tolist(),  # rows are truth, columns are predictions
        "per_class": {
            name: _class_figures(int(confusion[index, index]), confusion[index], confusion[:, index])
            for index, name in enumerate(labels)
        },
    }


def _class_figures(right: int, row: npt.NDArray[np.int64], column: npt.NDArray[np.int64]) -> dict[str, Any]:
    images, predicted = int(row.sum()), int(column.sum())
    return {
        "images": images,
        "predicted": predicted,
        "right": right,
        "precision": _share(right, predicted),
        "precision_interval_95": list(wilson(right, predicted)),
        "recall": _share(right, images),
        "recall_interval_95": list(wilson(right, images)),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
