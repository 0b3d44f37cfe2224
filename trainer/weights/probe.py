"""Features of some training images under every scale > the scale that the weights were trained with.

A linear classifier is judged on each scale's features, every image by a fit to the others. A scale other than the
architecture's own is chosen only where its answers to the same images are better beyond noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from eaves.statistics import paired_p_value, wilson
from trainer.weights.choice import Choice, Figure
from trainer.weights.ridge import leave_out
from trainer.weights.scales import SCALES, Scale
from trainer.weights.selection import LEAST_IMAGES

LEVEL = 0.003
"""Largest probability to see such a difference by chance for it to count. Fits that share most of their images err
together, so that the test alone is too bold: of simulated probes of four scales that are equally good 4 to 8 in 100 chose
another than the architecture's own at 0.01, and at most 3 at 0.003 (100 draws each of 40 and 1,000 features, 2 and 5
classes, 40 to 160 images)."""

Right = npt.NDArray[np.bool_]


def compare_scales(
    features: Mapping[str, npt.NDArray[np.float32]],
    labels: npt.NDArray[np.int64],
    groups: Sequence[str],
    *,
    own: Scale,
    file: str,
) -> Choice:
    """Choose by the features of the same images under every scale.

    Args:
        features: Name of each scale to the backbone's output under it, (N, features).
        labels: (N,) class of each image.
        groups: Name of the group of each image, which is never judged by a fit to its other images; empty: none.
        own: The architecture's own scale, one of those in `features`.
        file: Name of the file of weights, for the reason.
    """
    _, classes = np.unique(labels, return_inverse=True)
    right = {name: _judge(values, classes, groups) for name, values in features.items()}
    better = [name for name in right if name != own.name and _is_better(right[name], right[own.name])]
    chosen = max(better, key=lambda name: int(right[name].sum()), default=own.name)
    figures = _build_figures(right, chosen)
    alike = [figure.scale for figure in figures if figure.scale != chosen and not figure.differs]
    decided = bool(better) or not alike
    pixels = f"{chosen} (pixels {SCALES[chosen].words})"
    if decided:
        reason = f"train.scale: auto chose {pixels} for {file} by a probe"
        reason += f"; {', '.join(alike)} can't be told from it" if alike else ""
    else:
        reason = (
            f"train.scale: auto took {pixels}, the architecture's own, for {file}: by a probe no other is better "
            "beyond noise. Set train.scale where you know what the weights were trained with"
        )
    return Choice(
        scale=SCALES[chosen],
        by="probe" if decided else "undecided",
        reason=reason,
        images=len(classes),
        figures=figures,
    )


def choose_unprobed(own: Scale, *, images: int, file: str) -> Choice:
    """The architecture's own scale, where there are too few images to probe.

    Args:
        own: That scale.
        images: Number of training images.
        file: Name of the file of weights.
    """
    reason = (
        f"train.scale: auto took {own.name} (pixels {own.words}), the architecture's own, for {file}: {images} "
        f"training images are too few for a probe, which takes {LEAST_IMAGES}. Set train.scale where you know what the "
        "weights were trained with"
    )
    return Choice(scale=own, by="undecided", reason=reason)


def _judge(features: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], groups: Sequence[str]) -> Right:
    """Of each image, whether a linear classifier that has not seen its group names its class."""
    # Pixels that are a hundred times too large may overflow a network.
    finite = np.nan_to_num(features, nan=0.0, posinf=0.0, neginf=0.0)
    return np.asarray(leave_out(finite, labels, groups).argmax(axis=1) == labels)


def _is_better(one: Right, other: Right) -> bool:
    """Whether the first answers are better than the second ones beyond noise."""
    lost, gained = int(np.sum(other & ~one)), int(np.sum(one & ~other))
    return gained > lost and paired_p_value(lost, gained, len(one), 0.0) <= LEVEL


def _build_figures(right: Mapping[str, Right], chosen: str) -> tuple[Figure, ...]:
    figures = [
        Figure(
            scale=name,
            accuracy=float(answers.mean()),
            interval_95=wilson(int(answers.sum()), len(answers)),
            differs=_is_better(right[chosen], answers),
        )
        for name, answers in right.items()
    ]
    return tuple(sorted(figures, key=lambda figure: (-figure.accuracy, figure.scale != chosen)))
