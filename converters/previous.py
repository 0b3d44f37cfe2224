"""The artifact that an update replaces: what of it can stay, so that only what changed is shipped."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx

from converters.graph import is_head
from converters.source import Source
from eaves.artifact import Artifact, open_artifact
from eaves.artifact.verdicts import INT8
from eaves.errors import ArtifactError

QUANTISER_VERSION = 1
"""Raised when the same backbone and images would give another int8 graph."""


def find_previous(named: str, output: Path, source: Source) -> Artifact | None:
    """The newest artifact of the same task: as many labels, the same recipe.

    Args:
        named: The one to take; empty: look beside the output.
        output: Where the new artifact goes.
        source: What is converted.

    Raises:
        ArtifactError: When the named one is none.
    """
    if named:
        return open_artifact(Path(named), level="full")
    found = []
    # Hidden folders are those of conversions under way, or killed.
    for manifest in sorted(output.absolute().parent.glob("[!.]*/manifest.json")):
        try:
            artifact = open_artifact(manifest.parent)
        except ArtifactError:  # of another version, or no artifact: nothing to build on, and no fault of this one
            continue
        if artifact.manifest.recipe == source.recipe and artifact.manifest.name == source.name:
            found.append(artifact)
    return max(found, key=lambda artifact: (artifact.manifest.version, artifact.path.name), default=None)


def calibration_key(model: onnx.ModelProto, source: Source, runtime: str, *, reduce_range: bool) -> str:
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


def reuse_backbone(previous: Artifact | None, key: str, model: onnx.ModelProto) -> onnx.ModelProto | None:
    """The previous artifact's int8 graph with the new head in it; None when it is of another backbone.

    Args:
        previous: The artifact.
        key: Of the new model's backbone.
        model: The new model's prepared graph.
    """
    if previous is None or previous.manifest.precision != INT8 or previous.manifest.quantisation.calibration_key != key:
        return None
    reused = onnx.load(str(previous.model_path))
    old = [tensor for tensor in reused.graph.initializer if is_head(tensor.name)]
    new = [tensor for tensor in model.graph.initializer if is_head(tensor.name)]
    if [(list(tensor.dims), tensor.data_type) for tensor in old] != [(list(t.dims), t.data_type) for t in new]:
        return None
    for tensor, fresh in zip(old, new, strict=True):
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(fresh), tensor.name))
    return reused
