"""Which pictures are nearly the same: photographed in a burst, re-encoded, scaled.

A 64-bit difference hash finds candidates, a small grey thumbnail confirms them. The hash alone isn't enough: of 900
handwritten digits 11,183 pairs are within 7 bits of each other, and of those 5 correlate above 0.98.

Source: the difference hash is Neal Krawetz's dHash, hackerfactor.com/blog, "Kind of Like That" (2013).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from eaves import images
from eaves.errors import ImageError

MAX_DISTANCE = 7
"""Bits of 64. Of 100 photos at half size all are within it, at a third 99, at JPEG quality 20 all; of 500 different
flowers no two. It is also the most that four bands with one flipped bit each are sure to find."""
MIN_CORRELATION = 0.98
"""Of 16x16 grey thumbnails. The copies above correlate at 0.990 or more; different flowers within 10 bits at 0.53."""
FLAT = 2.0
"""Standard deviation of a thumbnail, of 255: below, a picture (blank paper, lens cap) says too little to compare."""

_BANDS = tuple(np.uint64(shift) for shift in (0, 16, 32, 48))
_FLIPS = (0, *(1 << bit for bit in range(16)))
_PAIRS = 2**18
"""Compared at once; bounds memory when thousands of pictures share a band."""

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a picture looks like, roughly.

    Attributes:
        bits: 64-bit difference hash.
        thumbnail: (256,) float32, grey, mean 0 and length 1: the product of two is their correlation.
    """

    bits: int
    thumbnail: npt.NDArray[np.float32]


def look(data: bytes) -> Look | None:
    """A picture's looks; None when it can't be decoded or is flat."""
    try:
        pixels = images.decode(data, at_least=(64, 64))
    except ImageError:
        return None
    grey = Image.fromarray(pixels).convert("L")
    steps = np.asarray(grey.resize((9, 8), Image.Resampling.BOX))
    bits = int.from_bytes(np.packbits(steps[:, 1:] > steps[:, :-1]).tobytes(), "big")
    small = np.asarray(grey.resize((16, 16), Image.Resampling.BOX), dtype=np.float32).ravel()
    if small.std() < FLAT:
        return None
    small -= small.mean()
    return Look(bits=bits, thumbnail=small / np.linalg.norm(small))


def find_groups(looks: Sequence[Look | None]) -> list[list[int]]:
    """Positions of nearly identical pictures, together; a picture like no other is in none.

    Groups are transitive: a burst of frames is one although its ends differ.
    """
    seen = [position for position, item in enumerate(looks) if item is not None]
    known = [item for item in looks if item is not None]
    parent = list(range(len(known)))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = item = parent[parent[item]]
        return item

    for first, second in _pairs(known):
        parent[max(root(first), root(second))] = min(root(first), root(second))
    groups: dict[int, list[int]] = {}
    for item, position in enumerate(seen):
        groups.setdefault(root(item), []).append(position)
    return [group for group in groups.values() if len(group) > 1]


def _pairs(looks: Sequence[Look]) -> Iterator[tuple[int, int]]:
    """Every pair of near copies, perhaps more than once.

    Two hashes within 7 bits have a 16-bit band that differs in one bit or none; so each item is compared only with
    those that share a band with it, give or take a bit.
    """
    if len(looks) < 2:
        return
    bits = np.array([item.bits for item in looks], dtype=np.uint64)
    thumbnails = np.stack([item.thumbnail for item in looks])
    for shift in _BANDS:
        keys = ((bits >> shift) & np.uint64(0xFFFF)).astype(np.int64)
        order = np.argsort(keys, kind="stable")
        for flip in _FLIPS:
            for some, others in _candidates(keys[order], keys ^ flip, order):
                near = np.bitwise_count(bits[some] ^ bits[others]) <= MAX_DISTANCE
                first, second = some[near], others[near]
                alike = np.einsum("ij,ij->i", thumbnails[first], thumbnails[second]) >= MIN_CORRELATION
                yield from zip(first[alike].tolist(), second[alike].tolist(), strict=True)


def _candidates(ranked: Positions, wanted: Positions, order: Positions) -> Iterator[tuple[Positions, Positions]]:
    """Pairs whose band is as wanted, the smaller position first, at most `_PAIRS` or so at a time.

    Args:
        ranked: Bands, sorted.
        wanted: The band that each item looks for.
        order: The item of each of `ranked`.
    """
    starts = np.searchsorted(ranked, wanted, "left")
    counts = np.searchsorted(ranked, wanted, "right") - starts
    chunk = np.cumsum(counts) // _PAIRS
    for number in np.unique(chunk):
        items = np.nonzero((chunk == number) & (counts > 0))[0]
        many = counts[items]
        first = np.repeat(items, many)
        within = np.arange(len(first)) - np.repeat(np.cumsum(many) - many, many)
        second = order[np.repeat(starts[items], many) + within]
        ahead = first < second
        yield first[ahead], second[ahead]
