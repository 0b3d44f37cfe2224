"""Which training images a probe looks at: a bounded number, the same of every class, of as many groups as possible."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from trainer.data.dataset import Example

IMAGES = 160
"""Most images that a probe looks at; see `docs/01-training.md` for what that costs."""
LEAST_IMAGES = 30
"""Fewest images on which a linear classifier is judged; on 30, only a difference of a quarter of the answers shows."""
PER_CLASS = 8
"""Fewest images a class for which the largest set of classes is chosen, where all classes would get fewer."""


def select_images(examples: Sequence[Example], *, most: int = IMAGES) -> list[int]:
    """Choose images for a probe; names and order don't matter, the images' digests decide.

    Args:
        examples: Of both sides; only those that are trained on are chosen.
        most: Largest number that is chosen.

    Returns:
        rows: Positions in `examples`, in order. Each class has the same number as far as it has so many images; where
            there are too many classes for that, only the largest ones have any.
    """
    of_class: dict[int, list[int]] = defaultdict(list)
    for row, example in enumerate(examples):
        if example.split == "train":
            of_class[example.label].append(row)
    classes = sorted(of_class, key=lambda label: (-len(of_class[label]), label))[: max(2, most // PER_CLASS)]
    chosen = [row for label in classes for row in _spread(of_class[label], examples)[: most // len(classes)]]
    return sorted(chosen)


def _spread(rows: Sequence[int], examples: Sequence[Example]) -> list[int]:
    """The images of one class, the first of each group before the second of any."""
    before: Counter[str] = Counter()
    ranked = []
    for row in sorted(rows, key=lambda row: examples[row].digest):
        group = examples[row].group
        ranked.append((before[group], examples[row].digest, row))
        if group:
            before[group] += 1
    return [row for _, _, row in sorted(ranked)]
