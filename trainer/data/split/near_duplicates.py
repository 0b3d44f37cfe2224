"""Finds copies of one photo (re-encoded, scaled), and pictures that only look alike (a burst, a fixed camera).

A 64-bit difference hash finds candidates and a 16x16 grey thumbnail confirms that they look alike. Two shots by a fixed
camera look alike too: the background is the same and only a part has moved. The residual of fitting one 32x32 picture
to the other distinguishes them from a re-encoding: a re-encoding leaves small errors everywhere, which grow with the
local contrast; a part that has moved leaves large errors in one place.

Where most pictures are copies of few pictures by this measure, the pictures are shots by fixed cameras of parts that
lie in a fixture. Such shots are compared after their mean and the directions in which they vary most are subtracted:
copies of one shot have the rest (noise, a defect) in common, two shots don't.

Source: the difference hash is Neal Krawetz's dHash, hackerfactor.com/blog, "Kind of Like That" (2013).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from PIL import Image

from eaves.errors import ImageError
from eaves.images.pixels import decode

MAX_DISTANCE = 7
"""Maximum number of bits, of 64, in which the hashes of two pictures that look alike differ. Of 100 photos, all copies
at half size and at JPEG quality 20, and 99 of the copies at a third of the size, differ in at most this many bits; of
500 photos of different flowers, all pairs differ in more. This distance is also the largest that the search surely
finds: one of the four 16-bit parts of the hashes then differs in at most one bit."""
MIN_CORRELATION = 0.98
"""Minimum correlation of the 16x16 grey thumbnails of two pictures that look alike. The copies measured for
`MAX_DISTANCE` correlate at 0.990 or more; photos of different flowers whose hashes differ in at most 10 bits, at 0.53.
"""
FLAT = 2.0
"""Standard deviation of a thumbnail, in levels of 255, below which a picture (blank paper, lens cap) is too uniform to
compare."""
SIDE = 32
"""Side, in pixels, of the small picture (grid) that is compared to tell copies of one photo from similar shots."""
NOISE, EDGE = 6.0, 0.25
"""Allowed residual of one pixel when two grids are compared: NOISE grey levels plus EDGE times the range (largest minus
smallest value) of the 3x3 pixels around it, in the picture where it is smaller."""
MAX_RESIDUAL, SMALL_RESIDUAL = 1.5, 0.55
"""Maximum residual of a copy's pixels, as a multiple of the allowed residual. With a residual up to SMALL_RESIDUAL, a
picture is a copy; with one up to MAX_RESIDUAL, it is a copy only if `MAX_PEAK` shows that the residual is spread over
the picture."""
MAX_PEAK = 8.0
"""Maximum ratio of a copy's largest residual to the root mean square of all its residuals. JPEG and scaling cause
residuals all over the picture, so the ratio is small; a part that has moved causes them in one place."""
SMALL_COLOUR, MAX_COLOUR_PEAK = 20.0, 10.0
"""Limits for the residuals of a copy in the two colour channels; one of them must hold in each: the largest residual is
at most SMALL_COLOUR levels, or its ratio to the root mean square is at most MAX_COLOUR_PEAK."""

SAMPLE = 256
"""Maximum number of pictures among which fixed cameras are searched for; it bounds the time that the search takes."""
MIN_SHOTS, MIN_SHARE = 6, 0.1
"""Minimum number, and share of the sample, of connected pictures that look alike and are shots by a fixed camera. More
than half of the sample must be such pictures, and have copies in several classes or as many copies as this; copies of
one photo, and the shots of a burst, are fewer."""
MODES = 16
"""Maximum number of directions (principal components) that are subtracted from the shots by a fixed camera; shifts,
turns and light are a few. At most an eighth of the number of shots, so that enough is left of each."""
MAX_REST_DISTANCE = 0.5
"""Maximum squared distance of what is left of two copies, as vectors of length 1: a correlation of at least 0.75. Of
240 drawn shots of good and scratched parts in a fixture no two correlate above 0.57. A shot saved again at its own JPEG
quality correlates at 0.96 or more, at another high quality at about 0.8."""

_BANDS = tuple(np.uint64(shift) for shift in (0, 16, 32, 48))
_FLIPS = (0, *(1 << bit for bit in range(16)))
_PAIRS = 2**14
"""Number of pairs whose hashes are compared at once; it bounds memory when thousands of pictures look alike."""

_COMPARED = 2**11
"""Number of pairs whose grids are compared at once; their data fits a CPU's cache."""

Positions = npt.NDArray[np.int64]
Grids = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFingerprint:
    """Fingerprint of a picture, by which copies and similar pictures are found.

    Attributes:
        bits: 64-bit difference hash.
        thumbnail: (256,) float32, grey, mean 0 and length 1; the dot product of two is their correlation.
        grid: (3, 1024) uint8: luminance and two colour differences (YCbCr) of 32x32 pixels.
    """

    bits: int
    thumbnail: npt.NDArray[np.float32]
    grid: Grids


def compute_fingerprint(data: bytes) -> ImageFingerprint | None:
    """Compute a picture's fingerprint; return None when the picture can't be decoded or is flat."""
    try:
        pixels = decode(data, at_least=(4 * SIDE, 4 * SIDE))
    except ImageError:
        return None
    picture = Image.fromarray(pixels)
    grey = picture.convert("L")
    steps = np.asarray(grey.resize((9, 8), Image.Resampling.BOX))
    bits = int.from_bytes(np.packbits(steps[:, 1:] > steps[:, :-1]).tobytes(), "big")
    small = np.asarray(grey.resize((16, 16), Image.Resampling.BOX), dtype=np.float32).ravel()
    if small.std() < FLAT:
        return None
    small -= small.mean()
    grid = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC).convert("YCbCr"))
    planes = np.ascontiguousarray(grid.reshape(-1, 3).T)
    return ImageFingerprint(bits=bits, thumbnail=small / np.linalg.norm(small), grid=planes)


def find_similar(looks: Sequence[ImageFingerprint | None]) -> Iterator[tuple[Positions, Positions]]:
    """Yield, in chunks, the pairs of pictures that look alike; each pair comes once, the smaller position first."""
    seen = np.array([position for position, item in enumerate(looks) if item is not None], dtype=np.int64)
    for first, second in FingerprintIndex([item for item in looks if item is not None]).similar():
        yield seen[first], seen[second]


def find_copies(looks: Sequence[ImageFingerprint | None], *, fresh: int = 0) -> Iterator[tuple[Positions, Positions]]:
    """Yield, in chunks, the pairs of copies of one photo; each pair comes once, the smaller position first.

    Args:
        looks: Fingerprint of each picture.
        fresh: Position of the first new picture; pairs of two pictures before it are left out and cost little.

    Of 120 photos of flowers (213 to 500 pixels), each at full, half and a third of its size and at JPEG quality 20, 50
    and 90, 99.0 % of the pairs are found (95 % of those at a third of the size and quality 20), and no two different
    photos are taken for copies. Of 59,400 pairs of shots of 640x480 pixels by a fixed camera, in which a part of 24 to
    90 pixels moved, 0.03 % are wrongly taken for copies. Where all pictures look alike, 1,000 images take 1 s of
    processor time, 10,000 100 s.
    """
    seen = np.array([position for position, item in enumerate(looks) if item is not None], dtype=np.int64)
    present = FingerprintIndex([item for item in looks if item is not None])
    for first, second in present.copies(fresh=int(np.searchsorted(seen, fresh))):
        yield seen[first], seen[second]


def find_connected(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Return, for each of `count` positions, the smallest position of the connected component that it belongs to."""
    parent = list(range(count))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = item = parent[parent[item]]
        return item

    for one, other in pairs:
        roots = root(one), root(other)
        parent[max(roots)] = min(roots)
    return [root(item) for item in range(count)]


class FingerprintIndex:
    """Index of the fingerprints of all pictures, by which pairs are found.

    Args:
        looks: Fingerprint of each picture.
        labels: (N,) int64, class of each picture; with it, shots by fixed cameras are searched for and compared by what
            is left after their mean.
    """

    def __init__(self, looks: Sequence[ImageFingerprint], labels: Positions | None = None) -> None:
        self._looks = looks
        self._bits = np.array([item.bits for item in looks], dtype=np.uint64)
        self._bands = [((self._bits >> shift) & np.uint64(0xFFFF)).astype(np.int64) for shift in _BANDS]
        self._orders = [np.argsort(keys, kind="stable") for keys in self._bands]
        self._thumbnails = np.stack([item.thumbnail for item in looks]) if looks else np.zeros((0, 256), np.float32)
        scenes = None if labels is None or not looks else self._find_scenes(labels)
        self._shots = None if scenes is None else _Shots(self._thumbnails, scenes)

    @property
    def shots(self) -> int:
        """Number of pictures that are shots by a fixed camera; 0 when they weren't searched for."""
        return self._shots.count if self._shots else 0

    def similar(self, of: Positions | None = None) -> Iterator[tuple[Positions, Positions]]:
        """Yield, in chunks, the pairs of pictures that look alike; each pair comes once, the smaller position first.

        Two hashes that differ in at most 7 bits have a 16-bit part (band) in which they differ in at most one bit. So
        each picture is compared only with pictures that have such a band in common with it.

        Args:
            of: Smaller positions of the wanted pairs; None means all pairs.
        """
        items = np.arange(len(self._looks)) if of is None else of
        for number, (keys, order) in enumerate(zip(self._bands, self._orders, strict=True)):
            ranked = keys[order]
            for flip in _FLIPS:
                for some, others in _candidates(ranked, keys[items] ^ flip, items, order):
                    different = self._bits[some] ^ self._bits[others]
                    near = np.bitwise_count(different) <= MAX_DISTANCE
                    for earlier in _BANDS[:number]:  # a pair that shares an earlier band has been compared there
                        near &= np.bitwise_count((different >> earlier) & np.uint64(0xFFFF)) > 1
                    first, second = some[near], others[near]
                    correlation = np.einsum("ij,ij->i", self._thumbnails[first], self._thumbnails[second])
                    alike = correlation >= MIN_CORRELATION
                    yield first[alike], second[alike]

    def copies(self, of: Positions | None = None, *, fresh: int = 0) -> Iterator[tuple[Positions, Positions]]:
        """Yield, in chunks, the pairs of copies of one photo; each pair comes once, the smaller position first.

        Args:
            of: Smaller positions of the wanted pairs; None means all pairs.
            fresh: Position of the first new picture; pairs of two pictures before it are left out.
        """
        for lower, higher in self.similar(of):
            wanted = higher >= fresh
            if self._shots:
                wanted &= self._shots.may_be_copies(lower, higher)
            first, second = lower[wanted], higher[wanted]
            for start in range(0, len(first), _COMPARED):
                some, others = first[start : start + _COMPARED], second[start : start + _COMPARED]
                copied = self._grids.are_copies(some, others)
                yield some[copied], others[copied]

    def _find_scenes(self, labels: Positions) -> Positions | None:
        """Return the number of the fixed camera's scene that each picture shows, -1 for none; None without scenes."""
        sample = np.linspace(0, len(self._looks) - 1, min(len(self._looks), SAMPLE)).astype(np.int64)
        few, least = FingerprintIndex([self._looks[item] for item in sample]), max(MIN_SHOTS, MIN_SHARE * len(sample))
        scene, copies = (_connect(len(sample), pairs) for pairs in (few.similar(), few.copies()))
        other_class = labels[sample] != labels[sample][copies]
        confused = np.bincount(copies, other_class)[copies] > 0  # its copies are in several classes
        confused |= np.bincount(copies)[copies] >= least
        scene[np.bincount(scene)[scene] < least] = -1
        shots = np.flatnonzero(scene >= 0)
        if 2 * np.count_nonzero(confused[shots]) <= len(sample):
            return None
        correlation = self._thumbnails @ few._thumbnails[shots].T
        return np.where(correlation.max(axis=1) >= MIN_CORRELATION, scene[shots[correlation.argmax(axis=1)]], -1)

    @cached_property
    def _grids(self) -> _Grids:
        return _Grids(np.stack([item.grid for item in self._looks]))


class _Shots:
    """What is left of the shots by fixed cameras after their mean and the directions in which they vary most.

    Args:
        thumbnails: (N, 256) float32, of all pictures.
        scenes: Number of the scene that each picture shows; -1 for pictures that are no shots by a fixed camera.
    """

    def __init__(self, thumbnails: Floats, scenes: Positions) -> None:
        self._scenes, self._rest = scenes, np.zeros_like(thumbnails)
        self.count = int(np.count_nonzero(scenes >= 0))
        for scene in np.unique(scenes[scenes >= 0]):
            shots = np.flatnonzero(scenes == scene)
            rest = thumbnails[shots] - thumbnails[shots].mean(axis=0)
            directions = np.linalg.eigh(rest.T @ rest)[1][:, ::-1][:, : min(MODES, len(shots) // 8)]
            rest -= rest @ directions @ directions.T
            rest /= np.maximum(rest.std(axis=0), 1e-4)  # a tenth of a grey level
            self._rest[shots] = rest / np.maximum(np.linalg.norm(rest, axis=1, keepdims=True), 1.0)

    def may_be_copies(self, first: Positions, second: Positions) -> npt.NDArray[np.bool_]:
        """Return, for each pair, False when the pictures are shots by a fixed camera and no copies."""
        difference = self._rest[first] - self._rest[second]
        near = np.einsum("ij,ij->i", difference, difference) <= MAX_REST_DISTANCE
        return np.asarray(near & (self._scenes[first] == self._scenes[second]))


class _Grids:
    """The 32x32 grids of all pictures, with values that are computed once per picture and used for all its pairs.

    Args:
        grids: (N, 3, 1024) uint8.
    """

    def __init__(self, grids: npt.NDArray[np.uint8]) -> None:
        self._colours = grids[:, 1:]
        self._grey = grids[:, 0].astype(np.float32)
        self._grey -= self._grey.mean(axis=1, keepdims=True)
        self._energy = np.maximum(np.einsum("ij,ij->i", self._grey, self._grey), 1.0)
        self._ranges = _ranges(grids[:, 0])
        lattice = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)[::2, ::2].ravel()
        self._sparse = np.ascontiguousarray(self._grey[:, lattice]), np.ascontiguousarray(self._ranges[:, lattice])

    def are_copies(self, first: Positions, second: Positions) -> npt.NDArray[np.bool_]:
        """Return whether the pictures of each pair are copies of one photo.

        A quarter of the pixels is compared first, which rules out most pairs of a fixed camera's shots.
        """
        gain = np.einsum("ij,ij->i", self._grey[first], self._grey[second]) / self._energy[second]
        largest = _residual(*self._sparse, first, second, gain)[1]
        copied: npt.NDArray[np.bool_] = largest <= MAX_RESIDUAL
        rows = np.flatnonzero(copied)
        residual, largest = _residual(self._grey, self._ranges, first[rows], second[rows], gain[rows])
        copied[rows] = (largest <= SMALL_RESIDUAL) | ((largest <= MAX_RESIDUAL) & (_peaks(residual) <= MAX_PEAK))
        rows = np.flatnonzero(copied)
        for channel in (0, 1):
            of_first, of_second = self._colours[first[rows], channel], self._colours[second[rows], channel]
            colour = of_first - gain[rows, None] * of_second
            residual = np.abs(colour - colour.mean(axis=1, keepdims=True))
            copied[rows] &= (residual.max(axis=1, initial=0) <= SMALL_COLOUR) | (_peaks(residual) <= MAX_COLOUR_PEAK)
        return copied


def _connect(count: int, pairs: Iterable[tuple[Positions, Positions]]) -> Positions:
    """Return, for each of `count` positions, the smallest position of its connected component."""
    single = (pair for first, second in pairs for pair in zip(first.tolist(), second.tolist(), strict=True))
    return np.array(find_connected(count, single), dtype=np.int64)


def _residual(grey: Floats, ranges: Grids, first: Positions, second: Positions, gain: Floats) -> tuple[Floats, Floats]:
    """Return each pair's residuals in grey levels, and the largest one as a multiple of the allowed residual."""
    residual = np.abs(grey[first] - gain[:, None] * grey[second])
    tolerance = NOISE + EDGE * np.minimum(ranges[first], ranges[second]).astype(np.float32)
    return residual, (residual / tolerance).max(axis=1, initial=0)


def _peaks(residual: Floats) -> Floats:
    """Return, for each pair (row), the ratio of the largest residual to the root mean square of all residuals."""
    spread = np.sqrt((residual * residual).mean(axis=1))
    return np.asarray(residual.max(axis=1, initial=0) / np.maximum(spread, 1e-6), dtype=np.float32)


def _ranges(grids: Grids) -> Grids:
    """Return the range (largest minus smallest) of the 3x3 pixels around each pixel of each grid, (N, 1024) uint8."""
    square = np.pad(grids.reshape(-1, SIDE, SIDE), ((0, 0), (1, 1), (1, 1)), mode="edge")
    high, low = square, square
    for axis in (1, 2):
        parts = [slice(None, -2), slice(1, -1), slice(2, None)]
        shifted = [(slice(None),) * axis + (part,) for part in parts]
        high = np.maximum(np.maximum(high[shifted[0]], high[shifted[1]]), high[shifted[2]])
        low = np.minimum(np.minimum(low[shifted[0]], low[shifted[1]]), low[shifted[2]])
    return (high - low).reshape(grids.shape)


def _candidates(
    ranked: Positions, wanted: Positions, items: Positions, order: Positions
) -> Iterator[tuple[Positions, Positions]]:
    """Yield pairs of an item and an item whose band is the wanted one, about `_PAIRS` pairs at a time.

    Args:
        ranked: One band (16 of the 64 bits) of the hash of every item, sorted.
        wanted: Band to find for each item.
        items: Position of each item.
        order: Position of the item of each band in `ranked`.
    """
    starts = np.searchsorted(ranked, wanted, "left")
    counts = np.searchsorted(ranked, wanted, "right") - starts
    chunk = np.cumsum(counts) // _PAIRS
    for number in np.unique(chunk):
        rows = np.nonzero((chunk == number) & (counts > 0))[0]
        many = counts[rows]
        first = np.repeat(items[rows], many)
        within = np.arange(len(first)) - np.repeat(np.cumsum(many) - many, many)
        second = order[np.repeat(starts[rows], many) + within]
        ahead = first < second
        yield first[ahead], second[ahead]
