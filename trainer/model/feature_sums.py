"""Sums over the features of labelled images, from which a ridge head is solved; they add and subtract exactly.

What a linear head learns from images behind a frozen backbone is in a few sums: for each class the number of images and
the sum of their features, and over all of them the sum of the features' products. Sums of new images are added, those
of images that are gone or have another label are subtracted, and sums of many sites are merged; the head is the same
as from all images at once. An image itself isn't in them, but the sums of one image are its features.

A network that gives features at each position of an image has the same sums at each position; the features of a whole
image are those of one position. Their mean and covariance at each position tell which image is unusual, and where.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import reduce

import numpy as np
import numpy.typing as npt

from eaves.errors import RunError

CHUNK = 1024
"""Number of images, or of positions in images, that are converted to 64-bit floats at once."""
FORMAT = 1
MAX_CLASSES, MAX_FEATURES, MAX_PRODUCTS = 10_000, 16_384, 2**28
"""Maximum numbers in a file of sums: of classes, of features at a position, of products of features at all positions. A
larger file is refused before memory is reserved for it."""

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
        return self._combine(other, 1)

    def subtract(self, other: FeatureSums) -> FeatureSums:
        """Return the sums without those of images that were added before.

        Raises:
            RunError: When the features were computed in different ways, or the images can't have been added.
        """
        found = self._combine(other, -1)
        if found.groups < 0 or (found.counts < -1e-6).any():
            raise RunError("the sums to subtract have more images of a class than those they are subtracted from")
        return replace(found, counts=np.maximum(found.counts, 0.0))

    def _combine(self, other: FeatureSums, sign: int) -> FeatureSums:
        if other.origin != self.origin or other.shift.shape != self.shift.shape:
            raise RunError(
                f"the features of these sums were computed by {_describe(other)}, and the others by {_describe(self)}",
                hint="train them all with the same backbone, image_size, resize and scale",
            )
        labels = (*self.labels, *(label for label in other.labels if label not in self.labels))
        mine, theirs = self.with_labels(labels), other.measured_from(self.shift).with_labels(labels)
        return replace(
            mine,
            counts=mine.counts + sign * theirs.counts,
            totals=mine.totals + sign * theirs.totals,
            products=mine.products + sign * theirs.products,
            groups=mine.groups + sign * theirs.groups,
        )

    def with_labels(self, labels: Sequence[str]) -> FeatureSums:
        """Return the sums with the classes in this order; a class that isn't known yet has no images.

        Raises:
            RunError: When a class with images is missing.
        """
        counts, totals = np.zeros(len(labels)), np.zeros((len(labels), *self.shift.shape))
        for row, label in enumerate(self.labels):
            if label in labels:
                counts[labels.index(label)], totals[labels.index(label)] = self.counts[row], self.totals[row]
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
        best = min(strengths, key=lambda strength: (_cross_validation_error(axes, strength, self.groups), -strength))
        return best, axes.solve(best)

    def to_bytes(self) -> bytes:
        """Return the content of a file of sums: an npz archive with the upper half of the products."""
        head = {
            "format": FORMAT,
            "labels": list(self.labels),
            **asdict(self.origin),
            "groups": self.groups,
        }
        rows, columns = np.triu_indices(self.shift.shape[1])
        out = io.BytesIO()
        np.savez(
            out,
            about=np.frombuffer(json.dumps(head).encode(), np.uint8),
            shift=self.shift,
            counts=self.counts,
            totals=self.totals,
            products=self.products[:, rows, columns],
        )
        return out.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, name: str) -> FeatureSums:
        """Parse the content of a file of sums; `name` is its name for messages.

        Raises:
            RunError: When the file is damaged, of another version, or no file of sums.
        """
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                if sum(member.file_size for member in archive.infolist()) > len(content):
                    raise ValueError("it is compressed")
            with np.load(io.BytesIO(content), allow_pickle=False) as found:
                head = json.loads(found["about"].tobytes())
                if head["format"] != FORMAT:
                    raise ValueError(f"format {head['format']!r} is not known")
                arrays = {key: found[key] for key in ("shift", "counts", "totals", "products")}
            labels, (positions, size) = tuple(map(str, head["labels"])), arrays["shift"].shape
            shapes = {"shift": (positions, size), "counts": (len(labels),), "totals": (len(labels), positions, size)}
            shapes["products"] = (positions, size * (size + 1) // 2)
            fits = 0 < size <= MAX_FEATURES and 0 < positions * size**2 <= MAX_PRODUCTS
            if not fits or not 0 < len(labels) <= MAX_CLASSES or len(set(labels)) < len(labels):
                raise ValueError(f"it has {positions} x {size} features and {len(labels)} classes")
            for key, shape in shapes.items():
                if arrays[key].shape != shape or arrays[key].dtype != np.float64 or not np.isfinite(arrays[key]).all():
                    raise ValueError(f"{key} are not {shape} finite float64 numbers")
            if (arrays["counts"] < 0).any() or int(head["groups"]) < 0:
                raise ValueError("it has a negative number of images")
            products = np.zeros((positions, size, size))
            products[:, *np.triu_indices(size)] = arrays.pop("products")
            return cls(
                labels=labels,
                origin=SumsOrigin(**{name: str(head[name]) for name in asdict(SumsOrigin())}),
                products=products + np.triu(products, 1).mT,
                groups=int(head["groups"]),
                **arrays,
            )
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise RunError(f"{name} is not a usable file of sums: {str(error)[:200]}") from error


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


def _outer(left: Floats, right: Floats) -> Floats:
    """Return the products of the features at each position, (P, D, D)."""
    return np.asarray(left[:, :, np.newaxis] * right[:, np.newaxis, :])


def _cross_validation_error(axes: PrincipalAxes, strength: float, groups: int) -> float:
    """Return the mean squared error of a ridge on other images, estimated; infinite when there are too few groups."""
    penalty = strength * axes.spread
    squares = (axes.cross**2).sum(axis=1)
    total = axes.weight * float((axes.base * (1 - axes.base)).sum())
    residual = total - float((squares * (axes.values + 2 * penalty) / (axes.values + penalty) ** 2).sum())
    free = 1 - (1 + float((axes.values / (axes.values + penalty)).sum())) / max(groups, 1)
    return float("inf") if free <= 0 else max(residual, 0.0) / axes.weight / free**2
