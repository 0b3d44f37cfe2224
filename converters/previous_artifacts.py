"""The artifacts that an update builds on: what of them can stay, so that only what changed is shipped."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import onnx

from converters.onnx.graph import is_head
from converters.source.model_source import ModelSource
from eaves.artifact import Artifact, open_artifact
from eaves.artifact.conversion_results import INT8
from eaves.errors import ArtifactError

QUANTISER_VERSION = 1
"""Raised when the same backbone and images would give another int8 graph."""


def find_previous(named: str, output: Path) -> tuple[Artifact, ...]:
    """Artifacts to build on, those of the highest version first.

    Args:
        named: The one to take; empty: those beside the output. Only their manifests are read; `is_intact` checks what
            is taken.
        output: Where the new artifact goes.

    Raises:
        ArtifactError: When the named one is none.
    """
    if named:
        return (open_artifact(Path(named), level="full"),)
    found = []
    # Hidden folders are those of conversions under way, or killed.
    for manifest in sorted(output.absolute().parent.glob("[!.]*/manifest.json")):
        try:
            found.append(open_artifact(manifest.parent))
        except ArtifactError:  # of another version, or no artifact: nothing to build on, and no fault of this one
            continue
    return tuple(sorted(found, key=lambda artifact: (artifact.manifest.version, artifact.path.name), reverse=True))


def is_intact(artifact: Artifact) -> bool:
    """Whether an artifact is what its manifest says, every byte: a damaged neighbour is nothing to build on."""
    try:
        return open_artifact(artifact.path, level="full").digest == artifact.digest
    except ArtifactError:
        return False


def calibration_key(model: onnx.ModelProto, source: ModelSource, runtime: str, *, reduce_range: bool) -> str:
    """What an int8 backbone is made of: the fp32 backbone, and what decides how it is rounded.

    Args:
        model: The prepared graph; its head doesn't count.
        source: The model, for its recipe.
        runtime: onnxruntime's version.
        reduce_range: Whether weights get 7 bits.
    """
    digest = hashlib.sha256(f"{QUANTISER_VERSION} {runtime} {reduce_range} {source.recipe.digest()}\n".encode())
    for node in model.graph.node:
        digest.update(node.SerializeToString(deterministic=True))
    for tensor in model.graph.initializer:
        digest.update(f"{tensor.name} {tensor.data_type} {list(tensor.dims)}\n".encode())
        if not is_head(tensor.name):
            digest.update(onnx.numpy_helper.to_array(tensor).tobytes())
    return digest.hexdigest()


def find_calibrated(previous: Sequence[Artifact], key: str) -> Artifact | None:
    """The artifact whose int8 backbone was made of the same; whatever its name is, and whatever head it has."""
    for artifact in previous:
        found = artifact.manifest.quantisation
        if (
            artifact.manifest.precision == INT8
            and found.calibration_key == key
            and found.trials
            and is_intact(artifact)
        ):
            return artifact
    return None


def reuse_backbone(previous: Artifact, model: onnx.ModelProto) -> onnx.ModelProto | None:
    """A previous artifact's int8 graph with a new head in it; None when the heads have other shapes.

    Args:
        previous: As `find_calibrated` gives it.
        model: The new model's prepared graph.
    """
    reused = onnx.load(str(previous.model_path))
    old = [tensor for tensor in reused.graph.initializer if is_head(tensor.name)]
    new = [tensor for tensor in model.graph.initializer if is_head(tensor.name)]
    if [(list(tensor.dims), tensor.data_type) for tensor in old] != [(list(t.dims), t.data_type) for t in new]:
        return None
    for tensor, fresh in zip(old, new, strict=True):
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(fresh), tensor.name))
    return reused
