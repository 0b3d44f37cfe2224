"""Predicts the class of each image with a linear classifier that is fitted to the other images.

It is fitted by ridge regression onto one column for each class. The prediction for the images of one group by a fit to
all others has a closed form, so that leaving out each group in turn costs only one fit.

Source: Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, section 7.10.1, equation 7.64 (leave one
out from the diagonal of the hat matrix; leaving out several takes their block of the matrix).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0)
"""Candidate strengths of the ridge, as multiples of the mean squared length of a vector."""

Floats = npt.NDArray[np.float64]


def score_leave_one_out(
    vectors: npt.NDArray[np.floating], labels: npt.NDArray[np.int64], groups: Sequence[str] | None = None
) -> Floats:
    """Score every class for each image by a fit to the images of all other groups.

    Args:
        vectors: (N, D) finite floats, N at least 3.
        labels: (N,) int64, index of each image's class.
        groups: Name of each image's group; an image with an empty name is a group of its own, and None means that every
            image is.

    Returns:
        scores: (N, classes) float64, at the strength that predicts most labels.
    """
    values = vectors.astype(np.float64)
    values = np.sign(values) * np.sqrt(np.abs(values))  # counts and activations have a few very large values
    left, singular, _ = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    power, targets = singular**2, np.eye(int(labels.max()) + 1)[labels]
    mean, count = targets.mean(axis=0), len(values)
    projected = left.T @ (targets - mean)
    together = _together(groups or [""] * count)
    best, most = targets, -1.0
    for strength in STRENGTHS:
        kept = power / (power + strength * max(power.sum() / count, 1e-12))
        residuals = targets - mean - left @ (kept[:, np.newaxis] * projected)
        # The intercept's share of each leverage is 1 / count.
        spare = np.maximum(1 - (left**2) @ kept - 1 / count, 1e-6)
        scores = targets - residuals / spare[:, np.newaxis]
        for rows in together:
            block = np.eye(len(rows)) * (1 + 1e-9) - (left[rows] * kept) @ left[rows].T - 1 / count
            scores[rows] = targets[rows] - np.linalg.solve(block, residuals[rows])
        right = float(np.mean(scores.argmax(axis=1) == labels))
        if right > most:
            best, most = scores, right
    return best


def _together(groups: Sequence[str]) -> list[list[int]]:
    """Return the positions of the images of every group that has at least two images."""
    members: dict[str, list[int]] = {}
    for position, name in enumerate(groups):
        if name:
            members.setdefault(name, []).append(position)
    return [rows for rows in members.values() if len(rows) > 1]
