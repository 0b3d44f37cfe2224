"""What a site's files may show: a minimum of images in each difference of two files, and noise on request.

The sums of one image are its features. Therefore any two files of a site differ, for each class and for any classes
together, by no image or by at least a minimum; also the first file differs from none. Combinations of more than two
files are not considered. Noise holds against them all: it makes the sums with and without any one image hard to tell
apart, and so costs accuracy. It doesn't hide how many images there are: the last of a minimum lets all others go.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from trainer.model.feature_sums import FeatureSums

MINIMUM = 20
"""Default of the minimum number of images of a class by which two files of a site differ."""
DELTA = 1e-5
"""Probability, for each file, that its noise hides an image less than epsilon says."""

About = tuple[str, str]
"""Class and group of an image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedImage:
    """An image, with one of the classes in which it was in files.

    Attributes:
        group: Name of its group.
        files: Bits of the files that it was in with this class; bit 0 is the first file's.
    """

    group: str
    files: int


History = Mapping[tuple[str, str], ReleasedImage]
"""What each image's digest and class was in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseChoice:
    """The images of a site's next file.

    Attributes:
        images: Class and group of each image, by digest.
        waiting: For each class that stays as it was, the number of images that wait, added and removed ones.
    """

    images: Mapping[str, About]
    waiting: Mapping[str, int]


def find_released(history: History, files: int) -> dict[str, About]:
    """Return class and group of each image in the last of some files, which are bits, by digest."""
    last = 1 << files.bit_length() >> 1
    return {digest: (label, one.group) for (digest, label), one in history.items() if one.files & last}


def choose_images(current: Mapping[str, About], history: History, files: int, minimum: int) -> ReleaseChoice:
    """Choose the images of the next file: of each class all current ones, or those of the last file.

    Args:
        current: Class and group of each image that the site has now, by digest.
        history: What was in earlier files.
        files: Bits of those earlier files whose features the same backbone computed; no others can be subtracted.
        minimum: Smallest number of images of any classes, added or removed, by which two files may differ.
    """
    last = find_released(history, files)
    earlier = [0, *(1 << number for number in range(files.bit_length()) if files >> number & 1)]
    labels, waiting = {label for label, _ in (*current.values(), *last.values())}, set[str]()
    while True:
        images = {digest: about for digest, about in current.items() if about[0] not in waiting}
        held = {digest: about for digest, about in last.items() if about[0] in waiting}
        few = {images[digest][0] for digest in images.keys() & held.keys()}  # no image may be in two classes
        images |= held
        few = few.union(*(find_small_changes(find_released(history, file), images, minimum) for file in earlier))
        if not few or waiting >= labels:
            break
        waiting |= few - waiting or labels
    changes = Counter(label for _, label in find_labels(current).items() ^ find_labels(last).items())
    return ReleaseChoice(images=images, waiting={label: changes[label] for label in waiting if changes[label]})


def find_labels(images: Mapping[str, About]) -> dict[str, str]:
    """Return the class of each image, by digest."""
    return {digest: label for digest, (label, _) in images.items()}


def find_small_changes(before: Mapping[str, About], after: Mapping[str, About], minimum: int) -> set[str]:
    """Return classes in which the files of two sets of images differ by fewer images than a minimum.

    An image that has another class now is in the sums of both files. So a difference shows those images that any
    classes together lost or got: where they are enough between two classes, these count as one from then on. A class
    without a name has the images that are in one set only.
    """
    moves = Counter(
        frozenset((before.get(digest, ("", ""))[0], after.get(digest, ("", ""))[0])) for digest in {**before, **after}
    )
    while pair := next((pair for pair, count in moves.items() if len(pair) == 2 and count >= minimum), None):
        joined = Counter[frozenset[str]]()
        for other, count in moves.items():
            joined[other - pair | {min(pair)} if other & pair else other] += count
        moves = joined
    return {label for pair in moves if len(pair) == 2 for label in pair if label}


def record(history: History, images: Mapping[str, About], files: int) -> dict[tuple[str, str], ReleasedImage]:
    """Return the history with one more file, which follows a number of files."""
    found = dict(history)
    for digest, (label, group) in images.items():
        before = found[digest, label].files if (digest, label) in found else 0
        found[digest, label] = ReleasedImage(group=group, files=before | 1 << files)
    return found


def add_noise(sums: FeatureSums, bound: float, epsilon: float, random: np.random.Generator) -> FeatureSums:
    """Return sums with Gaussian noise that hides each image.

    Args:
        sums: Sums of features; those of an image at all positions together are no farther from the point than the
            bound.
        bound: The largest distance.
        epsilon: Privacy loss of the noise; smaller hides an image better; see `DELTA`.
        random: Source of the noise.
    """
    # In units of the bound, an image adds at most 1 to the norm of each of the three sums.
    scale, size = math.sqrt(3) * find_scale(epsilon), sums.shift.shape[1]
    half = np.triu(random.normal(size=sums.products.shape), 1) / math.sqrt(2)  # each of them is in the norm twice
    noise = half + half.mT + np.eye(size) * random.normal(size=(len(half), 1, size))
    values, axes = np.linalg.eigh(sums.products + bound**2 * scale * noise)
    counts = np.maximum(sums.counts + scale * random.normal(size=sums.counts.shape), 0.0)
    return replace(
        sums,
        counts=counts,
        totals=sums.totals + bound * scale * random.normal(size=sums.totals.shape),
        products=(axes * np.maximum(values, 0.0)[:, np.newaxis]) @ axes.mT,
        groups=max(1, round(float(counts.sum()))),
    )


def find_scale(epsilon: float) -> float:
    """Return the standard deviation of the noise for sums that one image changes by at most 1.

    Source: Balle and Wang 2018, Improving the Gaussian Mechanism for Differential Privacy, theorem 8.
    """
    cdf = NormalDist().cdf
    low, high = 0.0, 1e6
    for _ in range(100):
        scale = (low + high) / 2
        near, far = 1 / (2 * scale) - epsilon * scale, -1 / (2 * scale) - epsilon * scale
        low, high = (low, scale) if cdf(near) - math.exp(epsilon) * cdf(far) <= DELTA else (scale, high)
    return high
