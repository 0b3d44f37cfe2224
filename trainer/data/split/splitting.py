"""Decides which images are held out: a share of each class, in whole groups; earlier images keep their sides.

Only the images' digests and the seed decide the sides, never names or order.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eaves.errors import DatasetError
from trainer.data.listing import DECLARED, Split

LEAST = 2
"""Minimum number of images of a class on each side; with one image, a class's accuracy is either 0 or 1."""
MOST_HELD_OUT = 0.5
"""Maximum share of a class that is held out when a whole group exceeds `fraction`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitEntry:
    """The place of one image in a split.

    Attributes:
        digest: sha256 of the file's bytes, hex.
        label: Name of its class.
        split: `train` (trained on) or `val` (held out).
        group: Name of the image's group; empty when it is in none.
    """

    digest: str
    label: str
    split: Split = "train"
    group: str = ""

    def __post_init__(self) -> None:
        """Refuse a split that a damaged file names."""
        if self.split not in DECLARED:
            raise ValueError(f"the split must be train or val (got {self.split!r})")


def assign_sides(
    items: Sequence[SplitEntry], *, fraction: float, seed: int, known: Mapping[str, Split]
) -> tuple[list[Split], dict[str, int]]:
    """Assign every image to a side of the split.

    A class of n images holds out `fraction` * n of them, at least 2 and at most n - 2. A group is on one side as a
    whole. When the groups of a class are too large for that, one of them is split over both sides.

    Args:
        items: The images; each digest occurs once.
        fraction: Share of each class that is held out.
        seed: Seed of the split; another seed gives another split.
        known: Digest and side of each image that an earlier run has placed; these stay on their side, and new images of
            their groups follow them.

    Returns:
        sides: Side of each image, in the order of the images.
        parted: Name of every group that is on both sides, and its number of images.

    Raises:
        DatasetError: A class has fewer than 4 images, or the known sides leave it fewer than 2 on a side.
    """
    check_sizes(Counter(item.label for item in items))
    placing = _Placing(items, fraction, seed, known)
    placing.follow()
    placing.fill()
    placing.overfill()
    placing.part()
    sides = placing.sides()
    _check_sides(items, sides, bool(known))
    return sides, _parted(items, sides)


class _Placing:
    """State of a split while it is computed: the images that are held out so far; all other images are trained on."""

    def __init__(self, items: Sequence[SplitEntry], fraction: float, seed: int, known: Mapping[str, Split]) -> None:
        self._items, self._known = items, known
        self._sizes = Counter(item.label for item in items)
        self._targets = {
            label: min(max(LEAST, round(fraction * size)), size - LEAST) for label, size in self._sizes.items()
        }
        self._val = {position for position, item in enumerate(items) if known.get(item.digest) == "val"}
        self._held = Counter(items[position].label for position in self._val)
        blocks: dict[str, list[int]] = {}
        for position in sorted(range(len(items)), key=lambda position: items[position].digest):
            blocks.setdefault(items[position].group or items[position].digest, []).append(position)
        self._blocks = sorted(blocks.values(), key=lambda block: _rank(seed, items[block[0]].digest))

    def sides(self) -> list[Split]:
        return ["val" if position in self._val else "train" for position in range(len(self._items))]

    def follow(self) -> None:
        """Hold out the new images of each group whose known images were all held out by an earlier run."""
        for block in self._blocks:
            placed = {self._known.get(self._items[position].digest) for position in block}
            new = [position for position in block if self._items[position].digest not in self._known]
            if new and "val" in placed and "train" not in placed and self._fits(new, self._limits()):
                self._hold(new)

    def fill(self) -> None:
        """Hold out groups and single images as long as no class exceeds its share."""
        for block in self._free():
            if self._fits(block, self._targets):
                self._hold(block)

    def overfill(self) -> None:
        """Hold out the smallest free groups that contain a class while too few of its images are held out."""
        limits = self._limits()
        for label in sorted(self._targets):
            while self._lacks(label):
                fitting = [block for block in self._free() if self._has(block, label) and self._fits(block, limits)]
                if not fitting:
                    break
                self._hold(min(fitting, key=len))

    def part(self) -> None:
        """Hold out single images of each class with too few held out; split as few groups as possible."""
        for label in sorted(self._targets):
            if not self._lacks(label):
                continue
            for block in self._blocks:
                for position in block:
                    new = position not in self._val and self._items[position].digest not in self._known
                    if new and self._items[position].label == label and self._held[label] < self._targets[label]:
                        self._hold([position])

    def _free(self) -> list[list[int]]:
        """Return the groups and single images of which no image is held out or has a side from an earlier run."""
        return [
            block
            for block in self._blocks
            if not any(item in self._val or self._items[item].digest in self._known for item in block)
        ]

    def _limits(self) -> dict[str, int]:
        return {label: int(size * MOST_HELD_OUT) for label, size in self._sizes.items()}

    def _lacks(self, label: str) -> bool:
        return self._held[label] < max(LEAST, self._targets[label] / 2)

    def _has(self, block: Sequence[int], label: str) -> bool:
        return any(self._items[position].label == label for position in block)

    def _fits(self, block: Sequence[int], limits: Mapping[str, float]) -> bool:
        more = Counter(self._items[position].label for position in block)
        return all(self._held[label] + count <= limits[label] for label, count in more.items())

    def _hold(self, block: Sequence[int]) -> None:
        self._val.update(block)
        self._held.update(self._items[position].label for position in block)


def _rank(seed: int, digest: str) -> bytes:
    return hashlib.sha256(f"{seed}:{digest}".encode()).digest()


def _parted(items: Sequence[SplitEntry], of: Sequence[Split]) -> dict[str, int]:
    sides: dict[str, set[Split]] = {}
    for item, side in zip(items, of, strict=True):
        sides.setdefault(item.group, set()).add(side)
    sizes = Counter(item.group for item in items)
    return {name: sizes[name] for name, both in sides.items() if name and len(both) > 1}


def check_sizes(sizes: Mapping[str, int]) -> None:
    """Check that every class can be split.

    Raises:
        DatasetError: A class has fewer than 4 images.
    """
    few = [f"{label} has {size}" for label, size in sorted(sizes.items()) if size < 2 * LEAST]
    if few:
        raise DatasetError(
            f"a class needs 4 images, 2 to train on and 2 to hold out, but {', '.join(few)}",
            hint="add images to the class, or remove it",
        )


def _check_sides(items: Sequence[SplitEntry], of: Sequence[Split], known: bool) -> None:
    counts = Counter((item.label, side) for item, side in zip(items, of, strict=True))
    for label in sorted({item.label for item in items}):
        held, trained = counts[label, "val"], counts[label, "train"]
        if min(held, trained) < LEAST:
            raise DatasetError(
                f"the class {label} has {trained} images to train on and {held} held out, and needs 2 of each"
                + ("; the split is taken from an earlier run" if known else ""),
                hint="add images to the class, or make a new split: --split new"
                if known
                else "add images to the class",
            )
