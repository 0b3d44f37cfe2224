"""Chooses the scale that weights were trained with, from measurements of training images under every scale.

A linear classifier on the backbone's features is evaluated under each scale, every image by a fit to the others. Scales
under which its answers are worse than under the best scale, beyond noise, are excluded. Among the others, the scale is
chosen whose first features are the nearest to those of the network's training, if it is clearly the nearest, if it is
near, and if the images are as bright and as rich in contrast as ordinary photos. Otherwise the architecture's own scale
is used.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from eaves.base.statistics import paired_p_value, wilson
from trainer.pixel_scale.brightness import ImageBrightness
from trainer.pixel_scale.ridge import score_leave_one_out
from trainer.pixel_scale.scale_choice import By, ScaleChoice, ScaleMeasurement
from trainer.pixel_scale.scales import SCALES, Scale

LEVEL = 0.003
"""Maximum p-value at which the difference in accuracy of two scales counts as real. The test finds too many
differences, because the classifiers are fitted to mostly the same images: of 100 simulated measurements of four equally
good scales, 4 to 8 found a difference at 0.01 and at most 3 at 0.003 (100 draws each of 40 and 1,000 features, 2 and 5
classes, 40 to 160 images)."""
CLEAR = 3.0
"""Minimum ratio of the second smallest distance to the smallest at which the scale with the smallest distance is
chosen. For Inception V3 trained on pixels 0 to 1, the ratio is 17 to 31 on 4 to 25 photos of flowers, 8 on the same
photos in grey, 6 at 0.6 of their contrast, and 4.5 on drawn parts."""
NEAR = 0.25
"""Maximum distance of the first features, in nats, at which a scale may be chosen by its distance. In the measurement
described at `trainer.pixel_scale.brightness.BRIGHTEST`, the distance under the right scale was 0.01 to 0.23 for
unchanged photos of flowers, 0.24 and once 0.58 for the same photos in grey, and 0.8 for the photos darkened to 0.4 of
their brightness."""

Right = npt.NDArray[np.bool_]


def score_features(features: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], groups: Sequence[str]) -> Right:
    """Predict the class of each image by a linear classifier that is fitted to the features of the other images.

    Args:
        features: (N, features) of some images, under one scale.
        labels: (N,) class of each image.
        groups: Name of the group of each image, empty if it has none; no image is evaluated by a fit to images of its
            group.

    Returns:
        right: (N,) bool, whether the classifier predicts the class of each image.
    """
    _, classes = np.unique(labels, return_inverse=True)
    # Pixels that are a hundred times too large may overflow a network.
    finite = np.nan_to_num(features, nan=0.0, posinf=0.0, neginf=0.0)
    return np.asarray(score_leave_one_out(finite, classes, groups).argmax(axis=1) == classes)


def choose_scale_by_probe(
    right: Mapping[str, Right],
    distances: Mapping[str, float],
    light: ImageBrightness,
    *,
    own: Scale,
    images: int,
    file: str,
) -> ScaleChoice:
    """Choose the scale by the accuracy and by the distance of the first features under each scale.

    Args:
        right: Name of each scale to the result of `score_features` for the same images; empty with too few images.
        distances: Name of each scale to the distance of the first features; empty if it can't be measured for the
            network.
        light: Brightness of the images whose first features were measured.
        own: The architecture's own scale.
        images: Number of probed training images.
        file: Name of the file of weights, used in the reason.
    """

    def build(name: str, why: str, by: By = "probe") -> ScaleChoice:
        return ScaleChoice(
            scale=SCALES[name],
            by=by,
            reason=f"train.scale: auto chose {name} (pixels {SCALES[name].words}) for {file}: {why}",
            images=images,
            figures=_build_figures(right, distances, worse),
        )

    best = max(right, key=lambda name: (int(right[name].sum()), name == own.name), default="")
    worse = {name for name in right if _is_better(right[best], right[name])}
    left = [name for name in SCALES if name not in worse]
    compared = {name: distances[name] for name in left if name in distances}
    nearest, doubt = _find_nearest(compared), _find_doubt(compared, light)
    if len(left) == 1:
        return build(left[0], "a linear classifier is less accurate with every other scale")
    if nearest and not doubt:
        return build(
            nearest, "with this scale the network's first features are the nearest to those of its own training"
        )
    if own.name in worse:
        return build(
            best,
            f"the architecture's default scale is less accurate; the probe could not tell {' and '.join(left)} apart",
        )
    others = " or ".join(name for name in left if name != own.name)
    why = (
        f"it is the architecture's default scale; a probe of {images} training images could not tell whether "
        f"{others} is more accurate"
    )
    advice = "Set train.scale (--scale) if you know the scale that the weights were trained with"
    return build(own.name, ". ".join(filter(None, (why, doubt, advice))), by="undecided")


def _find_nearest(distances: Mapping[str, float]) -> str:
    """Return the scale with the smallest distance; empty when the next distance is less than `CLEAR` times as large."""
    nearest, *others = sorted(distances, key=lambda name: distances[name]) or [""]
    return nearest if others and CLEAR * distances[nearest] <= distances[others[0]] else ""


def _find_doubt(distances: Mapping[str, float], light: ImageBrightness) -> str:
    """Return why the distances can't decide the scale, as a sentence without the full stop; empty if they can."""
    if not distances:
        return ""
    if oddity := light.find_oddity():
        return f"The distance of the first features says nothing about these images: {oddity}"
    nearest = min(distances, key=lambda name: distances[name])
    if distances[nearest] > NEAR:
        return (
            f"The distance of the first features does not decide: the smallest is {distances[nearest]:.2g} "
            f"({nearest}), and at most {NEAR:g} counts as near"
        )
    return ""


def _is_better(one: Right, other: Right) -> bool:
    """Return whether `one` has significantly more right answers than `other`, by a paired test at `LEVEL`."""
    lost, gained = int(np.sum(other & ~one)), int(np.sum(one & ~other))
    return gained > lost and paired_p_value(lost, gained, len(one), 0.0) <= LEVEL


def _build_figures(
    right: Mapping[str, Right], distances: Mapping[str, float], worse: Collection[str]
) -> tuple[ScaleMeasurement, ...]:
    """Return the measurement of each scale, the most accurate scale first."""
    figures = [
        ScaleMeasurement(
            scale=name,
            accuracy=float(right[name].mean()) if name in right else None,
            interval_95=wilson(int(right[name].sum()), len(right[name])) if name in right else None,
            distance=distances.get(name),
            worse=name in worse,
        )
        for name in right or distances
    ]
    return tuple(sorted(figures, key=lambda figure: (-(figure.accuracy or 0.0), figure.distance or 0.0)))
