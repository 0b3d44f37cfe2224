"""Sums over the features of labelled images, from which a ridge head is solved; they add and subtract exactly.

What a linear head learns from images behind a frozen backbone is in a few sums: for each class the number of images and
the sum of their features, and over all of them the sum of the features' products. Sums of new images are added, those
of images that are gone or have another label are subtracted, and sums of many sites are merged; the head is the same
as from all images at once. An image itself isn't in them, but the sums of one image are its features.

A network that gives features at each position of an image has the same sums at each position; the features of a whole
image are those of one position. Their mean and covariance at each position tell which image is unusual, and where.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import reduce
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt

from eaves.errors import RunError

CHUNK = 1024
"""Number of images, or of positions in images, that are converted to 64-bit floats at once."""
FORMAT = 1
MAX_CLASSES, MAX_FEATURES, MAX_PRODUCTS = 10_000, 16_384, 2**28
"""Maximum numbers in a file of sums: of classes, of features at a position, of products of features at all positions. A
larger file is refused before memory is reserved for it."""
MAX_GROUPS = 2**40
"""Maximum number of groups in a file; those of all sites together stay far below the largest int64."""

STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Strengths of the ridge among which a training from sums chooses."""

Floats = npt.NDArray[np.float64]
Features = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearHead:
    """A linear map from features to one score for each class.

    Attributes:
        kernel: (features, classes).
        bias: (classes,).
    """

    kernel: Floats
    bias: Floats

    def __call__(self, features: Features) -> Floats:
        """Return the scores, (N, classes), of features, (N, features)."""
        return np.asarray(features @ self.kernel + self.bias)

    def divide(self, number: float) -> LinearHead:
        """Return the head whose scores are those of this one divided by a number."""
        return LinearHead(kernel=self.kernel / number, bias=self.bias / number)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrincipalAxes:
    """The principal axes of the features of some images, in which every ridge is solved at once.

    Attributes:
        weight: Sum of the images' weights.
        mean: (D,) mean of the features.
        base: (classes,) share of each class.
        axes: (D, D) principal axes, one in each column.
        values: (D,) sum of the squared distances from the mean along each axis.
        cross: (D, classes) centred sums of the features of each class, along the axes.
    """

    weight: float
    mean: Floats
    base: Floats
    axes: Floats
    values: Floats
    cross: Floats

    @property
    def spread(self) -> float:
        """Mean squared distance of the features from their mean; the smallest number instead of 0."""
        return max(float(self.values.sum()) / self.weight, float(np.finfo(np.float64).tiny))

    def solve(self, strength: float) -> LinearHead:
        """Return the ridge regression of the given strength onto one column for each class.

        Source: Hoerl and Kennard 1970, Ridge Regression.
        """
        kernel = self.axes @ (self.cross / (self.values + strength * self.spread)[:, np.newaxis])
        return LinearHead(kernel=kernel, bias=self.base - self.mean @ kernel)

    def measure_freedom(self, strength: float, groups: int) -> float:
        """Return the mean share of an image's residual that a ridge would leave if it were fitted without the image.

        It is 1 - leverage; at most 0 when there are too few groups, each of which counts as one image.
        """
        fitted = 1 + float((self.values / (self.values + strength * self.spread)).sum())
        return 1 - fitted / max(groups, 1)

    def choose(self, strengths: Sequence[float], groups: int) -> float:
        """Return the strength with the smallest error by generalised cross-validation; see `FeatureSums.solve`."""
        return min(strengths, key=lambda strength: (self.estimate_error(strength, groups), -strength))

    def estimate_error(self, strength: float, groups: int) -> float:
        """Return the mean squared error of a ridge on other images, of all classes together, by cross-validation.

        It is infinite when there are too few groups.
        """
        penalty = strength * self.spread
        squares = (self.cross**2).sum(axis=1)
        total = self.weight * float((self.base * (1 - self.base)).sum())
        residual = total - float((squares * (self.values + 2 * penalty) / (self.values + penalty) ** 2).sum())
        free = self.measure_freedom(strength, groups)
        return float("inf") if free <= 0 else max(residual, 0.0) / self.weight / free**2


@dataclass(frozen=True, slots=True, kw_only=True)
class SumsOrigin:
    """What features were computed by; sums of different origins don't add.

    Attributes:
        recipe: Digest of the recipe that turns images into the backbone's input.
        backbone: Digest of the backbone's weights.
        scale: Name of the scale of pixels.
    """

    recipe: str = ""
    backbone: str = ""
    scale: str = ""

    @property
    def unprojected(self) -> SumsOrigin:
        """What features before their projection are computed by."""
        return replace(self, backbone=self.backbone.partition(PROJECTED)[0])

    def project(self, size: int, features: int) -> SumsOrigin:
        """Return what projections of features to `size` numbers are computed by; the same if there are no more."""
        return replace(self, backbone=f"{self.unprojected.backbone}{PROJECTED}{size}") if size < features else self


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSums:
    """Sums over the features of labelled images.

    Features are measured from a fixed point, so that the products of features whose mean is far from zero lose no
    digits. P is the number of positions.

    Attributes:
        labels: Names of the classes.
        origin: What the features were computed by.
        shift: (P, D) float64, the point.
        counts: (classes,) float64, sum of the weights of each class's images.
        totals: (classes, P, D) float64, weighted sum of the features of each class, measured from the point.
        products: (P, D, D) float64, weighted sum of the products of each image's features, measured from the point.
        groups: Number of groups of images; images of one group, such as shots of one part, are no independent
            evidence.
    """

    labels: tuple[str, ...]
    origin: SumsOrigin
    shift: Floats
    counts: Floats
    totals: Floats
    products: Floats
    groups: int

    @classmethod
    def empty(cls, labels: Sequence[str], origin: SumsOrigin, shift: Floats) -> FeatureSums:
        """Return the sums of no image, which are measured from the point `shift`, (P, D)."""
        positions, size = shift.shape
        return cls(
            labels=tuple(labels),
            origin=origin,
            shift=np.asarray(shift, np.float64),
            counts=np.zeros(len(labels)),
            totals=np.zeros((len(labels), positions, size)),
            products=np.zeros((positions, size, size)),
            groups=0,
        )

    @classmethod
    def of(
        cls,
        features: Features,
        truth: Labels,
        labels: Sequence[str],
        origin: SumsOrigin | None = None,
        *,
        weights: Floats | None = None,
        groups: int = 0,
    ) -> FeatureSums:
        """Return the sums of labelled images, at least one, measured from the mean of the first; see `add`."""
        shift = _by_position(features[:CHUNK]).mean(axis=0, dtype=np.float64)
        return cls.empty(labels, origin or SumsOrigin(), shift).add(features, truth, weights=weights, groups=groups)

    def add(self, features: Features, truth: Labels, *, weights: Floats | None = None, groups: int = 0) -> FeatureSums:
        """Return the sums with those of more images.

        Args:
            features: (N, D) or, with several positions, (N, ..., D) finite floats.
            truth: (N,) index of each image's class.
            weights: (N,) weight of each image; None for 1.
            groups: Number of groups of these images that have no image in the sums yet.
        """
        counts, totals, products = self.counts.copy(), self.totals.copy(), self.products.copy()
        features, step = _by_position(features), max(1, CHUNK // len(self.shift))
        for start in range(0, len(features), step):
            chunk = slice(start, start + step)
            part = features[chunk].astype(np.float64) - self.shift
            of_class = np.eye(len(self.labels))[truth[chunk]]
            weighted = part
            if weights is not None:
                of_class = of_class * weights[chunk, np.newaxis]
                weighted = part * weights[chunk, np.newaxis, np.newaxis]
            counts += of_class.sum(axis=0)
            totals += np.tensordot(of_class, part, (0, 0))
            products += weighted.transpose(1, 2, 0) @ part.transpose(1, 0, 2)
        return replace(self, counts=counts, totals=totals, products=products, groups=self.groups + groups)

    def measured_from(self, shift: Floats) -> FeatureSums:
        """Return the same sums, measured from another point."""
        moved = self.shift - shift
        if not moved.any():
            return self
        total = _outer(self.totals.sum(axis=0), moved)
        products = self.products + total + total.mT + self.counts.sum() * _outer(moved, moved)
        totals = self.totals + self.counts[:, np.newaxis, np.newaxis] * moved
        return replace(self, shift=np.asarray(shift, np.float64), totals=totals, products=products)

    def merge(self, other: FeatureSums) -> FeatureSums:
        """Return the sums of both; classes that only one has follow those of this one.

        Raises:
            RunError: When the features were computed in different ways.
        """
        return self._combine(other, np.add)

    def subtract(self, other: FeatureSums) -> FeatureSums:
        """Return the sums without those of images that were added before.

        Raises:
            RunError: When the features were computed in different ways, or the images can't have been added.
        """
        found = self._combine(other, np.subtract)
        if found.groups < 0 or (found.counts < -1e-6).any():
            raise RunError("the sums to subtract have more images of a class than those they are subtracted from")
        return replace(found, counts=np.maximum(found.counts, 0.0))

    def _combine(self, other: FeatureSums, combine: np.ufunc) -> FeatureSums:
        if other.origin != self.origin or other.shift.shape != self.shift.shape:
            raise RunError(
                f"the features of these sums were computed by {_describe(other)}, and the others by {_describe(self)}",
                hint="train them all with the same backbone, image_size, resize and scale",
            )
        labels = (*self.labels, *(label for label in other.labels if label not in self.labels))
        mine, theirs = self.with_labels(labels), other.measured_from(self.shift).with_labels(labels)
        return replace(
            mine,
            counts=combine(mine.counts, theirs.counts),
            totals=combine(mine.totals, theirs.totals),
            products=combine(mine.products, theirs.products),
            groups=int(combine(mine.groups, theirs.groups)),
        )

    def with_labels(self, labels: Sequence[str]) -> FeatureSums:
        """Return the sums with the classes in this order; a class that isn't known yet has no images.

        Raises:
            RunError: When a class with images is missing.
        """
        counts, totals = np.zeros(len(labels)), np.zeros((len(labels), *self.shift.shape))
        places = {label: place for place, label in enumerate(labels)}
        for row, label in enumerate(self.labels):
            if (place := places.get(label)) is not None:
                counts[place], totals[place] = self.counts[row], self.totals[row]
            elif self.counts[row] > 0:
                raise RunError(
                    f"the sums have images of the class {label[:64]!r}, which is not among {list(labels)[:20]}"
                )
        return replace(self, labels=tuple(labels), counts=counts, totals=totals)

    def axes(self, class_weights: Floats | None = None) -> PrincipalAxes:
        """Return the principal axes of the features at the first position, in which every ridge is solved at once.

        Args:
            class_weights: (classes,) weight of each class's images; None for 1. The spread within classes is that of
                all of them, because the sums of products are not kept for each class.
        """
        wanted = self.counts if class_weights is None else self.counts * class_weights
        weight, whole = float(wanted.sum()), float(self.counts.sum())
        means = self.totals[:, 0] / np.maximum(self.counts, np.finfo(np.float64).tiny)[:, np.newaxis]
        base = wanted / weight
        mean = base @ means
        apart = means - mean
        within = self.products[0] - (means * self.counts[:, np.newaxis]).T @ means
        scatter = within * (weight / whole) + (apart * wanted[:, np.newaxis]).T @ apart
        values, axes = np.linalg.eigh(scatter)
        return PrincipalAxes(
            weight=weight,
            mean=mean + self.shift[0],
            base=base,
            axes=axes,
            values=np.maximum(values, 0.0),
            cross=axes.T @ (apart * wanted[:, np.newaxis]).T,
        )

    def moments(self) -> tuple[Floats, Floats]:
        """Return mean, (P, D), and covariance, (P, D, D), of the features of all images, of which there is one."""
        count = float(self.counts.sum())
        mean = self.totals.sum(axis=0) / count
        return mean + self.shift, self.products / count - _outer(mean, mean)

    def solve(self, strengths: Sequence[float], class_weights: Floats | None = None) -> tuple[float, LinearHead]:
        """Return the strength with the smallest error by generalised cross-validation, and the head of that ridge.

        It needs no image: the squared error follows from the sums. Each group counts as one image.

        Source: Golub, Heath and Wahba 1979, Generalized Cross-Validation as a Method for Choosing a Good Ridge
        Parameter.

        Raises:
            RunError: When fewer than two classes have images.
        """
        if np.count_nonzero(self.counts > 0) < 2:
            raise RunError("the sums have images of fewer than two classes", hint="add images of another class")
        axes = self.axes(class_weights)
        best = axes.choose(strengths, self.groups)
        return best, axes.solve(best)

    def project(self, size: int) -> FeatureSums:
        """Return the sums of the features' random projections to `size` numbers; the same sums when there are no more.

        Sums that are projected after they were added equal those of projected features, and sums that are projected
        twice equal those that are projected once.
        """
        width = self.shift.shape[1]
        if size >= width:
            return self
        is_projected = self.origin != self.origin.unprojected
        # The columns of a smaller projection are the first ones of a larger one, but for their length.
        matrix = np.eye(width, size) * math.sqrt(width / size) if is_projected else build_projection(width, size)
        return replace(
            self,
            origin=self.origin.project(size, width),
            shift=self.shift @ matrix,
            totals=self.totals @ matrix,
            products=matrix.T @ self.products @ matrix,
        )

    def to_bytes(self, dtype: type[np.floating] = np.float64, *, is_diagonal: bool = False, **more: Any) -> bytes:
        """Return the content of a file of sums: an npz archive with the upper half of the products.

        Args:
            dtype: Type of the products in the file, float64 or float32; all else is float64, because a head depends
                most on the digits of the totals, which are few.
            is_diagonal: Whether the file has only the products of each feature with itself.
            more: Further values that the file says, as JSON.
        """
        about = {"labels": list(self.labels), **asdict(self.origin), "groups": self.groups, **more}
        size = self.shift.shape[1]
        rows, columns = (np.arange(size), np.arange(size)) if is_diagonal else np.triu_indices(size)
        return render_arrays(
            about,
            shift=self.shift,
            counts=self.counts,
            totals=self.totals,
            products=self.products[:, rows, columns].astype(dtype),
        )

    @classmethod
    def from_bytes(cls, content: bytes, name: str, diagonal: tuple[int, ...] | None = None) -> FeatureSums:
        """Parse the content of a file of sums.

        Args:
            content: Content of the file.
            name: Its name for messages.
            diagonal: Number of positions, and of features at each, of a file that has only the products of each feature
                with itself; the others are 0. None for a file with all products, which takes memory by its size.

        Raises:
            RunError: When the file is damaged, of another version, or no file of sums.
        """
        try:
            head, arrays = parse_arrays(content, ("shift", "counts", "totals", "products"))
            labels, (positions, size) = parse_labels(head), arrays["shift"].shape
            shapes = {"shift": (positions, size), "counts": (len(labels),), "totals": (len(labels), positions, size)}
            shapes["products"] = diagonal or (positions, size * (size + 1) // 2)
            if (
                diagonal not in (None, (positions, size))
                or not 0 < size <= MAX_FEATURES
                or not 0 < positions * size**2 <= MAX_PRODUCTS
            ):
                raise ValueError(f"it has {positions} x {size} features")
            check_shapes(arrays, shapes)
            if (arrays["counts"] < 0).any() or not 0 <= int(head["groups"]) <= MAX_GROUPS:
                raise ValueError("it has a negative number of images, or too many groups")
            products = arrays.pop("products")
            products = products[:, np.newaxis] * np.eye(size) if diagonal else _unpack(products, size)
            return cls(
                labels=labels,
                origin=parse_origin(head),
                products=products,
                groups=int(head["groups"]),
                **{key: array.astype(np.float64) for key, array in arrays.items()},
            )
        except DAMAGED as error:
            raise RunError(f"{name} is not a usable file of sums: {str(error)[:200]}") from error


PROJECTED = "/"
"""Mark in `SumsOrigin.backbone` between the digest and the number of projected features."""


def build_projection(features: int, size: int) -> Floats:
    """Return the random projection, (features, size), which is the same on every machine: signs over sqrt(size).

    Its signs are the first columns of those of a larger projection.

    Source: Achlioptas 2003, Database-friendly random projections.
    """
    bits = hashlib.shake_256(b"eaves projection").digest((features * size + 7) // 8)
    signs = np.unpackbits(np.frombuffer(bits, np.uint8), count=features * size).reshape(size, features).T
    return np.asarray((2.0 * signs - 1.0) / math.sqrt(size))


DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    OverflowError,
    RuntimeError,
    MemoryError,
    TokenError,
    zipfile.BadZipFile,
)
"""Errors of a hostile archive; RuntimeError when it is encrypted, or its JSON is too deep, and TokenError when an
array's description is no Python."""


def render_arrays(about: Mapping[str, Any], **arrays: npt.NDArray[Any]) -> bytes:
    """Return the content of an npz archive with arrays and what is known about them; equal values give equal bytes."""
    out = io.BytesIO()
    text = json.dumps({"format": FORMAT, **about}).encode()
    np.savez(out, allow_pickle=False, about=np.frombuffer(text, np.uint8), **arrays)
    return out.getvalue()


def parse_arrays(content: bytes, names: Sequence[str]) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Return what an archive of `render_arrays` says about its arrays, and these arrays.

    Raises:
        ValueError: When the archive is compressed, of another version or has other content; or OSError, EOFError,
            KeyError, TypeError or zipfile.BadZipFile.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("it is compressed")
    with np.load(io.BytesIO(content), allow_pickle=False) as found:
        about = json.loads(found["about"].tobytes())
        if about["format"] != FORMAT:
            raise ValueError(f"format {about['format']!r} is not known")
        return about, {name: found[name] for name in names}


def parse_labels(about: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the classes that an archive has, at least one.

    Raises:
        ValueError: When there are too many, or two have the same name.
    """
    labels = tuple(map(str, about["labels"]))
    if not 0 < len(labels) <= MAX_CLASSES or len(set(labels)) < len(labels):
        raise ValueError(f"it has {len(labels)} classes of {len(set(labels))} names")
    return labels


def parse_origin(about: Mapping[str, Any]) -> SumsOrigin:
    """Return what the features of an archive were computed by."""
    return SumsOrigin(**{name: str(about[name]) for name in asdict(SumsOrigin())})


def check_shapes(arrays: Mapping[str, npt.NDArray[Any]], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Check that the arrays have these shapes and hold finite floats.

    Raises:
        ValueError: When one doesn't.
    """
    for name, shape in shapes.items():
        array = arrays[name]
        fits = array.shape == shape and array.dtype in (np.float32, np.float64)
        if not fits or not np.isfinite(array).all():
            raise ValueError(f"{name} are not {shape} finite float32 or float64 numbers")


def merge_all(sums: Iterable[FeatureSums]) -> FeatureSums:
    """Return the sums of all; at least one.

    Raises:
        RunError: When the features were computed in different ways.
    """
    return reduce(FeatureSums.merge, sums)


def _describe(sums: FeatureSums) -> str:
    origin = sums.origin
    features = " x ".join(map(str, sums.shift.shape))
    return f"backbone {origin.backbone[:12]}, recipe {origin.recipe[:12]} with {features} features"


def _by_position(features: Features) -> Features:
    """Return features as (N, P, D)."""
    return features.reshape(len(features), -1, features.shape[-1])


def _unpack(upper: Floats, size: int) -> Floats:
    """Return symmetric matrices, (P, size, size), from their upper halves, (P, size * (size + 1) / 2)."""
    whole, start = np.empty((len(upper), size, size)), 0
    for row in range(size):  # a tenth of the time of indexing with np.triu_indices
        stop = start + size - row
        whole[:, row, :row], whole[:, row, row:] = whole[:, :row, row], upper[:, start:stop]
        start = stop
    return whole


def _outer(left: Floats, right: Floats) -> Floats:
    """Return the products of the features at each position, (P, D, D)."""
    return np.asarray(left[:, :, np.newaxis] * right[:, np.newaxis, :])
