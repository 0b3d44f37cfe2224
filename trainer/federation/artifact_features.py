"""Features of images by a deployed artifact: what its graph computes for the head, with the answers of the same pass.

The artifact's own graph runs, in onnxruntime, with one more output. So a site needs nothing but the artifact.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from eaves.artifact import Artifact, load_golden
from eaves.artifact.manifest import DIAGONAL, GAUSSIAN, LOGITS, PATCHES
from eaves.artifact.store import HANDLER
from eaves.errors import ArtifactError
from eaves.images.pixels import Pixels
from eaves.inference.session import Session
from trainer.model.anomaly import Gaussian
from trainer.model.feature_sums import Features, FeatureSums, Floats, SumsOrigin

BACKBONE, HEAD = "weights/backbone.bin", "weights/head.bin"


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
        recipe: Recipe of the images.
        golden: (N, P * D) float32, features of the artifact's golden images, which are no site's images.
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
        self.recipe = manifest.image_recipe
        self.is_diagonal = method == DIAGONAL
        backbone = f"{manifest.files[BACKBONE].sha256}{'+diagonal' if self.is_diagonal else ''}"
        self.origin = SumsOrigin(recipe=self.recipe.digest(), backbone=backbone)
        graph = artifact.model_path.read_bytes()
        shown = any(output.name == self._name for output in manifest.outputs)
        graph = graph if shown else show_output(graph, self._name)
        self._session = Session(artifact.model_path, optimise=manifest.optimise_on_open, graph=graph)
        tensors = [self.recipe.tensor((artifact.path / case.file).read_bytes()) for case in load_golden(artifact)]
        if not tensors:
            raise ArtifactError(f"{artifact.path} has no golden images", hint="convert the run again")
        size = self._session.attempt(tensors[0][np.newaxis])[self._name].shape[-1]
        self.golden, _ = self.compute(tensors)
        self.point: Floats = self.golden.mean(axis=0, dtype=np.float64).reshape(-1, size)

    def parse_sums(self, content: bytes, name: str) -> FeatureSums:
        """Parse a file of merged sums; `name` is its name for messages."""
        return FeatureSums.from_bytes(content, name, self.point.shape if self.is_diagonal else None)

    def fit(self, sums: FeatureSums) -> Gaussian:
        """Return what merged sums, perhaps projected ones, tell of the features of good images."""
        return Gaussian.fit(sums, full=not self.is_diagonal).expand(self.point.shape[1])

    def compute(self, images: Iterable[Pixels]) -> tuple[Features, Features]:
        """Return features, (N, P * D) float32, and the serving model's logits, (N, classes) float32.

        Args:
            images: Tensors that the recipe makes.
        """
        found = [self._session.attempt(image[np.newaxis]) for image in images]  # the batch may not be the first axis
        features, logits = (np.array([one[name].ravel() for one in found], np.float32) for name in (self._name, LOGITS))
        return features, logits


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
