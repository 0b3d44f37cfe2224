"""Measures a model on held-out images: accuracy, confusion matrix, figures by class, and the figure it is judged by.

Without scikit-learn, which adds 199 MB with SciPy, and 0.9 s of CPU to an import of TensorFlow; tests compare with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.calibration import calibrate, prior_correction
from trainer.grouped_statistics import NOTHING, JudgedImages, ShareEstimate
from trainer.run import ACCURACY, MEAN_RECALL

Labels = npt.NDArray[np.int64]


def measure_quality(
    truth: Labels,
    logits: npt.NDArray[np.float32],
    labels: Sequence[str],
    *,
    label_weights: Sequence[float] = (),
    is_balanced: bool = False,
    groups: Sequence[str] | None = None,
    lookalikes: npt.NDArray[np.bool_] | None = None,
) -> dict[str, Any]:
    """Return the model's part of metrics.json: the result of `summarize`, the temperature and the evidence for it.

    Args:
        truth: (N,) int64, label of every held-out image.
        logits: (N, classes) float32, the model's logits for these images.
        labels: Class names.
        label_weights: Weights of the decision rule, in the order of `labels`; empty without class weights.
        is_balanced: Argument of `summarize`.
        groups: (N,) name of every image's group; None if every image is a group.
        lookalikes: (N,) bool, images that look like a training image; None for none.
    """
    calibration = calibrate(logits, truth, prior_correction(label_weights), groups)
    measured = summarize(
        truth,
        np.argmax(logits, axis=1),
        labels,
        groups=groups,
        is_balanced=is_balanced,
        lookalikes=lookalikes,
    )
    return measured | {
        "decision": {"label_weights": list(label_weights)},
        "temperature": calibration["temperature"],
        "calibration": calibration,
    }


def summarize(
    truth: Labels,
    predicted: Labels,
    labels: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    is_balanced: bool = False,
    lookalikes: npt.NDArray[np.bool_] | None = None,
    inflation: float = 1.0,
) -> dict[str, Any]:
    """Return accuracy, confusion matrix, precision and recall by class, and the figure that the model is judged by.

    Args:
        truth: (N,) int64, label of every image.
        predicted: (N,) int64, label that the model predicts for every image.
        labels: Class names.
        groups: (N,) name of every image's group; None if every image is a group. Intervals count groups.
        is_balanced: Whether the figure is the mean recall, because classes count alike, and not the accuracy.
        lookalikes: (N,) bool, images that look like a training image, which don't count in the figure; None for none.
        inflation: Number that the effective number of images is divided by in intervals.
    """
    confusion = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(confusion, (truth, predicted), 1)
    right = truth == predicted
    images = JudgedImages(range(len(truth)) if groups is None else groups)
    estimate = images.estimate(right, inflation=inflation)
    recalls, precisions = (
        JudgedImages(images.groups, of).estimate_strata(right, inflation=inflation) for of in (truth, predicted)
    )
    kept = np.ones(len(truth), bool) if lookalikes is None else ~lookalikes
    return {
        "val_accuracy": estimate.value,
        "val_accuracy_interval_95": [estimate.low, estimate.high],
        "val_images": len(truth),
        "labels": list(labels),
        "confusion": confusion.tolist(),  # rows are truth, columns are predictions
        "per_class": {
            name: _class_figures(recalls.get(index, NOTHING), precisions.get(index, NOTHING))
            for index, name in enumerate(labels)
        },
        "figure": _measure_figure(truth[kept], right[kept], images.groups[kept], labels, is_balanced, inflation)
        | {"lookalikes": int((~kept).sum())},
    }


def _measure_figure(
    truth: Labels,
    right: npt.NDArray[np.bool_],
    groups: Labels,
    labels: Sequence[str],
    is_balanced: bool,
    inflation: float,
) -> dict[str, Any]:
    """Return the figure that the model is judged by, on images that don't look like a training image."""
    found = JudgedImages(groups, truth if is_balanced else None).estimate(right, inflation=inflation)
    classes = JudgedImages(groups, truth).estimate_strata(right, inflation=inflation)
    most = max((one.images for one in classes.values()), default=1) / max(1, found.images)
    return {
        "name": MEAN_RECALL if is_balanced else ACCURACY,
        "value": found.value,
        "interval_95": [found.low, found.high],
        "baseline": 1 / max(1, len(classes)) if is_balanced else most,
        "images": found.images,
        "groups": found.groups,
        "classes": {
            labels[index]: {"images": one.images, "right": one.right, "effective_images": one.effective}
            for index, one in classes.items()
        },
    }


def _class_figures(recall: ShareEstimate, precision: ShareEstimate) -> dict[str, Any]:
    return {
        "images": recall.images,
        "effective_images": recall.effective,
        "predicted": precision.images,
        "right": recall.right,
        "precision": precision.value if precision.images else None,
        "precision_interval_95": [precision.low, precision.high],
        "recall": recall.value if recall.images else None,
        "recall_interval_95": [recall.low, recall.high],
    }
