"""Measures a model on the held-out images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.evaluation import ACCURACY, MEAN_RECALL
from trainer.evaluation.calibration import calibrate, prior_correction
from trainer.evaluation.grouped_statistics import JudgedImages, ShareEstimate

Labels = npt.NDArray[np.int64]

_NONE = ShareEstimate(value=0.0, low=0.0, high=1.0, images=0, groups=0, effective=0.0)


def measure_quality(
    truth: Labels,
    logits: npt.NDArray[np.float32],
    labels: Sequence[str],
    *,
    label_weights: Sequence[float] = (),
    groups: Sequence[str] | None = None,
    lookalikes: npt.NDArray[np.bool_] | None = None,
) -> dict[str, Any]:
    """Return the model's part of metrics.json: the result of `summarize`, the temperature and the evidence for it.

    Args:
        truth: (N,) int64, label of every held-out image.
        logits: (N, classes) float32, the model's logits for these images.
        labels: Class names.
        label_weights: Weights of the decision rule, in the order of `labels`; empty without class weights.
        groups: (N,) name of every image's group; None if every image is a group.
        lookalikes: (N,) bool, images that look like a training image; None for none.
    """
    calibration = calibrate(logits, truth, prior_correction(label_weights), groups)
    measured = summarize(
        truth,
        np.argmax(logits, axis=1),
        labels,
        groups=groups,
        is_balanced=bool(label_weights),
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
    images = JudgedImages.of_names(range(len(truth)) if groups is None else groups)
    estimate = images.estimate(right, inflation=inflation)
    recalls = _estimate_by(truth, images, right, inflation)
    precisions = _estimate_by(predicted, images, right, inflation)
    return {
        "val_accuracy": estimate.value,
        "val_accuracy_interval_95": [estimate.low, estimate.high],
        "val_images": len(truth),
        "labels": list(labels),
        "confusion": confusion.tolist(),  # rows are truth, columns are predictions
        "per_class": {
            name: _class_figures(int(confusion[index, index]), recalls.get(index, _NONE), precisions.get(index, _NONE))
            for index, name in enumerate(labels)
        },
        "figure": _measure_figure(truth, right, images, labels, is_balanced, lookalikes, inflation),
    }


def _measure_figure(
    truth: Labels,
    right: npt.NDArray[np.bool_],
    images: JudgedImages,
    labels: Sequence[str],
    is_balanced: bool,
    lookalikes: npt.NDArray[np.bool_] | None,
    inflation: float,
) -> dict[str, Any]:
    """Return the figure that the model is judged by, on the images that don't look like a training image."""
    kept = np.ones(len(truth), bool) if lookalikes is None else ~lookalikes
    counted = JudgedImages(
        strata=truth[kept] if is_balanced else images.strata[kept],
        groups=images.groups[kept],
    )
    found = counted.estimate(right[kept], inflation=inflation)
    shares = np.bincount(truth[kept]) / max(1, found.images)
    seen = shares[shares > 0]
    classes = _estimate_by(truth[kept], counted, right[kept], inflation)
    return {
        "name": MEAN_RECALL if is_balanced else ACCURACY,
        "value": found.value,
        "interval_95": [found.low, found.high],
        "baseline": float(1 / len(seen) if is_balanced else seen.max()) if len(seen) else 1.0,
        "images": found.images,
        "groups": found.groups,
        "lookalikes": int((~kept).sum()),
        "classes": {
            labels[index]: {
                "images": each.images,
                "right": int(right[kept & (truth == index)].sum()),
                "effective_images": each.effective,
            }
            for index, each in classes.items()
        },
    }


def _estimate_by(
    strata: Labels, images: JudgedImages, right: npt.NDArray[np.bool_], inflation: float
) -> dict[int, ShareEstimate]:
    """Return the share of right answers among the images of each stratum that has images."""
    found = replace(images, strata=strata).estimate_strata(right, inflation=inflation)
    return dict(zip(np.unique(strata).tolist(), found, strict=True))


def _class_figures(right: int, recall: ShareEstimate, precision: ShareEstimate) -> dict[str, Any]:
    return {
        "images": recall.images,
        "effective_images": recall.effective,
        "predicted": precision.images,
        "right": right,
        "precision": precision.value if precision.images else None,
        "precision_interval_95": [precision.low, precision.high],
        "recall": recall.value if recall.images else None,
        "recall_interval_95": [recall.low, recall.high],
    }
