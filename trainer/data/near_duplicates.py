"""Finds pictures that look alike (a burst, a fixed camera), and copies of one photo (re-encoded, scaled) among them.

Two pictures look alike when their 16x16 grey thumbnails correlate. Under a fixed camera that is true of all pictures
and says nothing: their background is the same, and only the part differs. There, what differs from the mean picture is
compared: shots of one part have it in common. Where parts lie in a fixture, that is mostly how they are shifted, turned
and lit, and is common to shots of different parts: then the directions in which the pictures vary most are subtracted
too, and what is left (noise, a defect) is common to copies of one shot only.

Looking alike says nothing where it joins most pictures of a class, or pictures of different classes nearly as often as
chance would.

The residual of fitting one 32x32 picture to the other distinguishes copies from other pictures that look alike: a
re-encoding leaves small errors everywhere, which grow with the local contrast; a part that has moved leaves large
errors in one place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from eaves.images.pixels import Pixels
from trainer.progress import SILENT, TrainingProgress

MAX_DISTANCE = 0.04
"""Maximum squared distance of the thumbnails of two pictures that look alike, as vectors of length 1: a correlation of
at least 0.98. Copies of 100 photos at half size, at a third of the size and at JPEG quality 20 correlate at 0.990 or
more; of 500 photos of flowers no two different ones correlate above 0.98."""
MAX_DIFFERENCE = 0.3
"""The same for what differs from the mean picture of a fixed camera: a correlation of at least 0.85. Of 156 drawn parts
of 60 to 110 of 640x480 pixels, whose 4 to 8 shots are moved by up to 3 or 8 pixels, the shots of each are then in one
group; with 0.9, those of 11 parts are in several."""
MIN_DIFFERENCE = 0.005
"""Length of a thumbnail's difference from the mean picture that is due to rounding: a third of a grey level."""
MODES = 16
"""Maximum number of directions (principal components) that are subtracted from the shots of parts in a fixture; shifts,
turns and light are a few. At most an eighth of the number of shots, so that enough is left of each."""
MAX_REST_DISTANCE = 0.5
"""Maximum squared distance of what is then left of two copies: a correlation of at least 0.75. Of 240 drawn shots of
good and scratched parts in a fixture no two correlate above 0.57. A shot saved again at its own JPEG quality correlates
at 0.96 or more, at another high quality at about 0.8."""
MAX_SHARE = 0.5
"""Maximum share of a class that is one group of pictures that look alike; above it, a fixed camera took them."""
MAX_CONFUSION = 0.5
"""Maximum share of pairs in different classes among the pairs that look alike, as a multiple of the share that chance
would give; above it, looking alike says nothing."""
MIN_SHOTS, MIN_SHARE = 6, 0.1
"""Minimum number of pictures of one class that are shots by a fixed camera, and, if they are found by `MAX_CONFUSION`,
the minimum number in a second class and the minimum share of all pictures; copies of one photo are fewer."""
FLAT = 2.0
"""Standard deviation of a thumbnail, in levels of 255, below which a picture (blank paper, lens cap) is too uniform to
compare."""
SIDE = 32
"""Side, in pixels, of the small picture (grid) that is compared to tell copies of one photo from similar shots."""
DECODED = (4 * SIDE, 4 * SIDE)
"""Minimum width and height, in pixels, to which a JPEG may be scaled down for its fingerprint."""
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


BLOCK = 128
"""Number of pictures that are compared with all others at once; the table takes 51 MB for 100,000 pictures."""
_COMPARED = 2**11
"""Number of pairs whose grids are compared at once; their data fits a CPU's cache."""

Positions = npt.NDArray[np.int64]
Grids = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Table = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFingerprint:
    """Fingerprint of a picture, by which copies and pictures that look alike are found.

    Attributes:
        thumbnail: (256,) float32, grey, mean 0 and length 1; the dot product of two is their correlation.
        grid: (3, 1024) uint8: luminance and two colour differences (YCbCr) of 32x32 pixels.
    """

    thumbnail: npt.NDArray[np.float32]
    grid: Grids


def fingerprint_pixels(pixels: Pixels) -> ImageFingerprint | None:
    """Compute the fingerprint of a decoded picture; return None when it is flat."""
    picture = Image.fromarray(pixels)
    grey = picture.convert("L")
    small = np.asarray(grey.resize((16, 16), Image.Resampling.BOX), dtype=np.float32).ravel()
    if small.std() < FLAT:
        return None
    small -= small.mean()
    grid = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC).convert("YCbCr"))
    planes = np.ascontiguousarray(grid.reshape(-1, 3).T)
    return ImageFingerprint(thumbnail=small / np.linalg.norm(small), grid=planes)


def unite(names: Positions, first: Positions, second: Positions) -> None:
    """Give the two sets that each pair joins one name: the smaller one.

    Args:
        names: Name of the set of each item; a set is named by its smallest position. It is changed.
        first: One item of each pair.
        second: The other item.
    """
    apart = names[first] != names[second]
    for one, other in zip(first[apart].tolist(), second[apart].tolist(), strict=True):
        low, high = sorted((names[one], names[other]))
        if low != high:
            names[names == high] = low


class FingerprintIndex:
    """Compares the fingerprints of all pictures.

    Args:
        looks: Fingerprint of each picture.
        labels: (N,) int64, class of each picture; with it, shots by a fixed camera are searched for. None means one
            class and no such shots.
        progress: Receives one step for each picture of a comparison.

    Attributes:
        alike: (N,) int64, set of each picture: pictures of any class that look alike, or that are linked by a chain of
            such pictures; a set is named by its smallest position.
        groups: The same for chains of pictures of one class.
        shots: Number of pictures that are shots by a fixed camera.
    """

    def __init__(
        self,
        looks: Sequence[ImageFingerprint],
        labels: Positions | None = None,
        progress: TrainingProgress = SILENT,
    ) -> None:
        self._looks, self._progress, count = looks, progress, len(looks)
        self._labels = np.zeros(count, dtype=np.int64) if labels is None else labels
        self.alike, self.groups, self.shots = np.arange(count), np.arange(count), 0
        self._relations: list[_Relation] = []
        if not looks:
            return
        thumbnails = np.stack([item.thumbnail for item in looks])
        everything = _Relation(np.arange(count), thumbnails, MAX_DISTANCE)
        scenes = self._compare(everything, "Comparing images")
        for name in np.flatnonzero(np.bincount(self.alike) >= MIN_SHOTS):
            scene = np.flatnonzero(self.alike == name)
            if labels is not None and self._says_nothing(scene, scenes):
                self.shots += len(scene)
                self._relations.append(self._compare_shots(scene, thumbnails[scene]))
        taken = np.concatenate([np.arange(0), *(relation.positions for relation in self._relations)])
        others = np.setdiff1d(np.arange(count), taken)
        self._relations.append(_Relation(others, thumbnails[others], MAX_DISTANCE))

    def copies(self, *, fresh: int = 0, sets: Positions | None = None) -> Iterator[tuple[Positions, Positions]]:
        """Yield, in chunks, the pairs of copies of one photo; each pair comes once, the smaller position first.

        Of 120 photos of flowers (213 to 500 pixels), each at full, half and a third of its size and at JPEG quality 20,
        50 and 90, 99.0 % of the pairs are found (95 % of those at a third of the size and quality 20), and no two
        different photos are taken for copies.

        Args:
            fresh: Position of the first new picture; pairs of two pictures before it are left out and cost little.
            sets: (N,) int64, name of the set of each picture, which `unite` may change between two chunks; pairs of
                pictures that are then in one set are left out.
        """
        like_others = np.bincount(self.alike)[self.alike] > 1
        for relation in (each.only(like_others) for each in self._relations):
            start = int(np.searchsorted(relation.positions, fresh))
            if start == len(relation.positions):
                continue
            with self._progress.phase("Comparing copies", len(relation.positions) - start) as step:
                for row, table in relation.tables(start):
                    lower, higher = np.nonzero(table.T)
                    for chunk in range(0, len(lower), _COMPARED):
                        chosen = slice(chunk, chunk + _COMPARED)
                        first, second = relation.positions[lower[chosen]], relation.positions[higher[chosen] + row]
                        if sets is not None:
                            apart = sets[first] != sets[second]
                            first, second = first[apart], second[apart]
                        copied = self._grids.are_copies(first, second)
                        yield first[copied], second[copied]
                        step(0)  # a block may have millions of pairs
                    step(len(table))

    def _compare_shots(self, scene: Positions, thumbnails: Floats) -> _Relation:
        """Compare the shots by a fixed camera by what differs from their mean, or else by what is left of it."""
        for modes, limit in ((0, MAX_DIFFERENCE), (MODES, MAX_REST_DISTANCE)):
            relation = _Relation(scene, _subtract_mean(thumbnails, modes), limit)
            found = self._compare(relation, "Comparing shots by a fixed camera")
            if not self._says_nothing(scene, found):
                break
        return relation

    def _compare(self, relation: _Relation, title: str) -> tuple[Positions, Positions]:
        """Connect pictures that look alike; return each picture's number of pairs, and of pairs across classes."""
        pairs, across = np.zeros((2, len(self._looks)), dtype=np.int64)
        labels = self._labels[relation.positions]
        names = [np.arange(len(labels)), np.arange(len(labels))]
        with self._progress.phase(title, len(labels)) as step:
            for row, table in relation.tables():
                end = row + len(table)
                same = table & (labels[row:end, None] == labels[:end])
                rows = relation.positions[row:end]
                pairs[rows] = np.count_nonzero(table, axis=1)
                across[rows] = pairs[rows] - np.count_nonzero(same, axis=1)
                _join(names[0], row, table)
                _join(names[1], row, same)
                step(len(table))
        self.alike[relation.positions], self.groups[relation.positions] = (relation.positions[item] for item in names)
        return pairs, across

    def _says_nothing(self, scene: Positions, found: tuple[Positions, Positions]) -> bool:
        """Return whether looking alike doesn't distinguish the pictures of a scene."""
        labels, groups = self._labels[scene], np.bincount(self.groups[scene], minlength=len(self._looks))
        of_class = np.bincount(self._labels)[self._labels]  # a group is named by a picture of its class
        if np.any((groups >= MIN_SHOTS) & (groups > MAX_SHARE * of_class)):
            return True
        sizes = np.sort(np.bincount(labels))[::-1]
        if len(scene) < MIN_SHARE * len(self._looks) or len(sizes) < 2 or sizes[1] < MIN_SHOTS:
            return False
        chance = 1 - (sizes * (sizes - 1)).sum() / (len(scene) * (len(scene) - 1))
        pairs, across = (int(count[scene].sum()) for count in found)
        return bool(across > MAX_CONFUSION * chance * pairs)

    @cached_property
    def _grids(self) -> _Grids:
        return _Grids(np.stack([item.grid for item in self._looks]))


@dataclass(frozen=True, slots=True)
class _Relation:
    """Pictures that are compared with each other, and when two of them look alike.

    Attributes:
        positions: Positions of the pictures, ascending.
        vectors: (N, 256) float32, what is compared.
        limit: Maximum squared distance of the vectors of two pictures that look alike.
    """

    positions: Positions
    vectors: Floats
    limit: float

    def only(self, wanted: npt.NDArray[np.bool_]) -> _Relation:
        """Return the relation of some of the pictures; `wanted` has a value for each of all positions."""
        rows = wanted[self.positions]
        return _Relation(self.positions[rows], self.vectors[rows], self.limit)

    def tables(self, start: int = 0) -> Iterator[tuple[int, Table]]:
        """Yield which pictures look alike: the first row of a block, and (rows, columns) with all pictures before each.

        Args:
            start: First row; columns are all pictures.
        """
        half = np.einsum("ij,ij->i", self.vectors, self.vectors) / 2
        for row in range(start, len(self.vectors), BLOCK):
            end = min(row + BLOCK, len(self.vectors))
            products = self.vectors[row:end] @ self.vectors[:end].T
            products -= half[:end]
            table = products >= (half[row:end] - self.limit / 2)[:, None]
            table[:, row:] &= np.tri(end - row, k=-1, dtype=np.bool_)
            yield row, table


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


def _subtract_mean(thumbnails: Floats, modes: int) -> Floats:
    """Return what differs from the mean of the thumbnails: vectors of length 1, or less where that is only rounding.

    Args:
        thumbnails: (N, 256) thumbnails of one scene.
        modes: Number of directions, those in which the thumbnails vary most, that are subtracted too.
    """
    rest, least = thumbnails - thumbnails.mean(axis=0), MIN_DIFFERENCE
    if modes:
        directions = np.linalg.eigh(rest.T @ rest)[1][:, ::-1][:, : min(modes, len(rest) // 8)]
        rest -= rest @ directions @ directions.T
        rest /= np.maximum(rest.std(axis=0), 1e-4)  # a tenth of a grey level
        least = 1.0
    return np.asarray(rest / np.maximum(np.linalg.norm(rest, axis=1, keepdims=True), least), dtype=np.float32)


def _join(names: Positions, row: int, table: Table) -> None:
    """Unite the sets of the pictures of each row and of the pictures that look like it."""
    end = row + len(table)
    while True:
        apart = table & (names[row:end, None] != names[:end])
        rows = np.flatnonzero(apart.any(axis=1))
        if not len(rows):
            return
        unite(names, apart[rows].argmax(axis=1), row + rows)


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
    return np.asarray(_combine(square, np.maximum) - _combine(square, np.minimum)).reshape(grids.shape)


def _combine(square: Grids, two: np.ufunc) -> Any:
    """Combine the 3x3 pixels around each inner pixel of each square, (N, side, side)."""
    rows = two(two(square[:, :-2], square[:, 1:-1]), square[:, 2:])
    return two(two(rows[:, :, :-2], rows[:, :, 1:-1]), rows[:, :, 2:])
