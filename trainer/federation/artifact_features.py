"""Features of images by a deployed artifact: what its graph computes for the head, with the answers of the same pass.

The artifact's own graph runs, in onnxruntime, with one more output. So a site needs nothing but the artifact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from eaves.artifact import Artifact, load_golden
from eaves.artifact.manifest import DIAGONAL, GAUSSIAN, LOGITS, PATCHES
from eaves.artifact.store import HANDLER
from eaves.errors import ArtifactError
from eaves.images.pixels import Pixels
from eaves.inference.session import Session
from trainer.data.listing import LabelledImage
from trainer.data.pixels import read_tensor
from trainer.model.anomaly import Gaussian
from trainer.model.feature_sums import Features, FeatureSums, Floats, SumsOrigin

BACKBONE, HEAD = "weights/backbone.bin", "weights/head.bin"
Item = TypeVar("Item")


class ArtifactFeatures:
    """Computes features by an artifact whose head was trained on a frozen backbone.

    Args:
        artifact: The artifact.

    Raises:
        ArtifactError: When the artifact doesn't name its features, has a handler, or can't be run.

    Attributes:
        artifact: The artifact.
        rule: Rule of a model that finds anomalies, whose features at each position are summed; None for classes.
        is_diagonal: Whether only the products of each feature with itself are needed.
        origin: What the features are computed by; sums that are used in another way don't add.
        labels: Names of the serving model's classes.
        golden: (N, D) or (N, ..., D) float32, features of the artifact's golden images, which are no site's images.
        point: (P, D) float64, their mean at each position, from which all sites measure features.
    """

    def __init__(self, artifact: Artifact) -> None:
        manifest = artifact.manifest
        self.artifact, self.labels, self._name = artifact, manifest.labels, manifest.features
        self.rule, method = manifest.anomaly, manifest.anomaly.method if manifest.anomaly else ""
        if method == PATCHES:
            raise ArtifactError(
                f"{artifact.path} compares images with patches of good ones, which don't add up",
                hint=f"use the artifact of a run whose train.method is {GAUSSIAN} or {DIAGONAL}",
            )
        if not self._name:
            raise ArtifactError(
                f"{artifact.path} does not say which features its head reads",
                hint="convert the run again"
                if HEAD in manifest.files
                else "use the artifact of a run whose train.mode is frozen or sums: here the whole network was trained",
            )
        if HANDLER in manifest.files:
            raise ArtifactError(f"{artifact.path} has a {HANDLER}, so its images are not those of its recipe")
        self._recipe = manifest.image_recipe
        self.is_diagonal = method == DIAGONAL
        backbone = f"{manifest.files[BACKBONE].sha256}{'+diagonal' if self.is_diagonal else ''}"
        self.origin = SumsOrigin(recipe=self._recipe.digest(), backbone=backbone)
        graph = artifact.model_path.read_bytes()
        shown = any(output.name == self._name for output in manifest.outputs)
        graph = graph if shown else show_output(graph, self._name)
        self._session = Session(artifact.model_path, optimise=manifest.optimise_on_open, graph=graph)
        self.golden, _ = self.compute([artifact.path / case.file for case in load_golden(artifact)])
        if not len(self.golden):
            raise ArtifactError(f"{artifact.path} has no golden images", hint="convert the run again")
        size = self.golden.shape[-1]
        self.point: Floats = self.golden.mean(axis=0, dtype=np.float64).reshape(-1, size)

    def fit(self, sums: FeatureSums) -> Gaussian:
        """Return what merged sums, perhaps projected ones, tell of the features of good images."""
        return Gaussian.fit(sums, full=not self.is_diagonal).expand(self.point.shape[1])

    def compute(self, images: Sequence[Path]) -> tuple[Features, Features]:
        """Return features, (N, ..., D) float32, and the serving model's logits, (N, classes) float32, of image files.

        Raises:
            ImageError: When a file is no image that can be decoded.
        """
        return self._run(lambda path: self._recipe.tensor(path.read_bytes()), images)

    def compute_examples(self, images: Sequence[LabelledImage]) -> tuple[Features, Features]:
        """Return what `compute` does, of images whose files must have the bytes that they had when they were listed.

        Raises:
            DatasetError: When a file is missing, has changed, or can't be decoded.
        """
        return self._run(lambda image: read_tensor(image, self._recipe), images)

    def _run(self, load: Callable[[Item], Pixels], items: Sequence[Item]) -> tuple[Features, Features]:
        found = [self._session.attempt(load(item)[np.newaxis]) for item in items]
        rows = [
            one[self._name].squeeze() for one in found
        ]  # of one image, so it doesn't matter which axis is the batch
        return np.array(rows, np.float32), np.array([one[LOGITS][0] for one in found], np.float32)


def show_output(graph: bytes, name: str) -> bytes:
    """Return the content of a model.onnx with one more output, without the package onnx.

    A field that occurs twice in protobuf's wire format is merged, so the output is appended as a further `graph`.

    Source: protobuf.dev, Encoding, "Last One Wins"; onnx.proto: ModelProto.graph is 7, GraphProto.output 12, and
    ValueInfoProto.name 1.
    """
    content = name.encode()
    for number in (1, 12, 7):
        content = _render_varint(number << 3 | 2) + _render_varint(len(content)) + content
    return graph + content


def _render_varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*parts, value))
