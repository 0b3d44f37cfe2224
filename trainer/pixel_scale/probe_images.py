"""Selects the training images with which the pixel scale of given weights is measured (the probe).

The number of images is limited and the same for each class. As few of them as possible show the same object: groups of
related images (`trainer.data.split.groups`) contribute one image each before any contributes a second.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from trainer.data.dataset import Example

IMAGES = 160
"""Maximum number of images for measuring the pixel scale; `docs/01-training.md` has the cost."""
LEAST_IMAGES = 30
"""Minimum number of images on which a linear classifier is evaluated; on 30, only a difference of a quarter of the
answers shows."""
PER_CLASS = 8
"""Minimum number of images per class; if all classes would get fewer, only the largest classes are used."""


def select_images(examples: Sequence[Example], *, most: int = IMAGES) -> list[int]:
    """Choose images for measuring the pixel scale by their digests; names and order don't matter.

    Args:
        examples: Training and held-out images; only training images are chosen.
        most: Maximum number of images.

    Returns:
        rows: Positions in `examples`, in order. Each class has the same number of images if it has that many; with too
            many classes, only the largest ones are used.
    """
    of_class: dict[int, list[int]] = defaultdict(list)
    for row, example in enumerate(examples):
        if example.split == "train":
            of_class[example.label].append(row)
    classes = sorted(of_class, key=lambda label: (-len(of_class[label]), label))[: max(2, most // PER_CLASS)]
    chosen = [row for label in classes for row in _spread(of_class[label], examples)[: most // len(classes)]]
    return sorted(chosen)


def _spread(rows: Sequence[int], examples: Sequence[Example]) -> list[int]:
    """Order the images of one class so that every group has contributed one image before any contributes a second."""
    before: Counter[str] = Counter()
    ranked = []
    for row in sorted(rows, key=lambda row: examples[row].digest):
        group = examples[row].group
        ranked.append((before[group], examples[row].digest, row))
        if group:
            before[group] += 1
    return [row for _, _, row in sorted(ranked)]
