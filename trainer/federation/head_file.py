"""The file of a head that was merged from the sums of many sites: `head.npz`.

Sites load it to judge it on their own images; the artifact with this head reaches them like every update.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass

import numpy as np

from eaves.errors import RunError
from trainer.model.feature_sums import (
    DAMAGED,
    MAX_FEATURES,
    LinearHead,
    SumsOrigin,
    check_shapes,
    parse_arrays,
    parse_labels,
    parse_origin,
    render_arrays,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedHead:
    """A head that was merged from the sums of many sites.

    Attributes:
        labels: Names of the classes.
        origin: What the features that it takes are computed by; they are never projected.
        head: The head, (features, classes); in the file its numbers are float32.
        label_weights: (classes,) weights of the decision rule, divided by the largest; empty without class weights.
    """

    labels: tuple[str, ...]
    origin: SumsOrigin
    head: LinearHead
    label_weights: tuple[float, ...] = ()

    @property
    def digest(self) -> str:
        """The sha256 of the file, hex."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """Return the content of the file; equal heads give equal bytes."""
        about = {
            "labels": self.labels,
            **asdict(self.origin),
            "label_weights": self.label_weights,
        }
        kernel, bias = self.head.kernel.astype(np.float32), self.head.bias.astype(np.float32)
        return render_arrays(about, kernel=kernel, bias=bias)

    @classmethod
    def from_bytes(cls, content: bytes, name: str) -> MergedHead:
        """Parse the content of the file; `name` is its name for messages.

        Raises:
            RunError: When the file is damaged, of another version, or no file of a head.
        """
        try:
            about, arrays = parse_arrays(content, ("kernel", "bias"))
            labels, size = parse_labels(about), len(arrays["kernel"])
            if not 0 < size <= MAX_FEATURES or len(labels) < 2:
                raise ValueError(f"it has {size} features and {len(labels)} classes")
            check_shapes(arrays, {"kernel": (size, len(labels)), "bias": (len(labels),)})
            return cls(
                labels=labels,
                origin=parse_origin(about),
                head=LinearHead(**{key: array.astype(np.float64) for key, array in arrays.items()}),
                label_weights=tuple(map(float, about["label_weights"])),
            )
        except DAMAGED as error:
            raise RunError(f"{name} is not a usable file of a head: {str(error)[:200]}") from error
