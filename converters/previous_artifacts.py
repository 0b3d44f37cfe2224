"""Finds previous artifacts: one that a repeated conversion would make again, and those whose parts an update keeps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import onnx

from converters.model_source import ModelSource
from converters.onnx.graph import is_head
from converters.settings import ConvertSettings
from eaves.artifact import Artifact, open_artifact
from eaves.artifact.manifest import INT8
from eaves.artifact.store import HANDLER, file_digest
from eaves.base.files import write_atomically
from eaves.errors import ArtifactError
from trainer.run.run import MANIFEST

QUANTISER_VERSION = 1
"""Version of the quantiser; it is raised with each change that makes another int8 graph of the same backbone and
images."""


def find_converted(run: Path, output: Path, settings: ConvertSettings) -> Artifact | None:
    """Return the artifact that an earlier conversion of the same run with the same settings made; None without one.

    Args:
        run: Directory of the run.
        output: Directory of the artifact.
        settings: Settings of the conversion.
    """
    try:
        made = open_artifact(output, level="full")
        same = (
            made.manifest.source.digest == file_digest(run / MANIFEST)
            and _settings_beside(output).read_bytes() == _render_settings(made.digest, settings)
            and (not settings.handler or file_digest(Path(settings.handler)) == made.manifest.files[HANDLER].sha256)
        )
    except (ArtifactError, OSError):
        return None
    return made if same else None


def write_settings(output: Path, digest: str, settings: ConvertSettings) -> None:
    """Write the settings that an artifact is made with beside it; the artifact itself holds no path of this machine.

    Args:
        output: Directory of the artifact.
        digest: Digest of the artifact.
        settings: Settings of the conversion.

    Raises:
        OSError: The file can't be written.
    """
    write_atomically(_settings_beside(output), _render_settings(digest, settings), mode=None)


def _settings_beside(artifact: Path) -> Path:
    return artifact.with_name(f"{artifact.name}.settings.json")


def _render_settings(digest: str, settings: ConvertSettings) -> bytes:
    return json.dumps({"artifact": digest, "convert": asdict(settings)}, indent=2, sort_keys=True).encode() + b"\n"


def find_previous(named: str, output: Path) -> tuple[Artifact, ...]:
    """Find earlier artifacts whose parts a new artifact may reuse, the highest version first.

    Args:
        named: Path of the artifact to use; empty means all artifacts in the output's parent folder. Only the manifests
            are read; check an artifact with `is_intact` before its parts are used.
        output: Directory of the new artifact.

    Raises:
        ArtifactError: The named path holds no artifact.
    """
    if named:
        return (open_artifact(Path(named), level="full"),)
    found = []
    # Hidden folders belong to running or killed conversions.
    for manifest in sorted(output.absolute().parent.glob("[!.]*/manifest.json")):
        try:
            found.append(open_artifact(manifest.parent))
        # an artifact of another version, or no artifact, is nothing to build on and no fault of this conversion
        except ArtifactError:
            continue
    return tuple(sorted(found, key=lambda artifact: (artifact.manifest.version, artifact.path.name), reverse=True))


def is_intact(artifact: Artifact) -> bool:
    """Return whether every byte of an artifact matches its manifest; parts of a damaged artifact are not reused."""
    try:
        return open_artifact(artifact.path, level="full").digest == artifact.digest
    except ArtifactError:
        return False


def calibration_key(model: onnx.ModelProto, source: ModelSource, runtime: str) -> str:
    """Return the digest of everything that an int8 backbone depends on: the fp32 backbone and the rounding.

    Args:
        model: Prepared graph; the result doesn't depend on its head.
        source: The model with its recipe.
        runtime: Version of onnxruntime.
    """
    digest = hashlib.sha256(f"{QUANTISER_VERSION} {runtime} {source.recipe.digest()}\n".encode())
    for node in model.graph.node:
        digest.update(node.SerializeToString(deterministic=True))
    for tensor in model.graph.initializer:
        digest.update(f"{tensor.name} {tensor.data_type} {list(tensor.dims)}\n".encode())
        if not is_head(tensor.name):
            digest.update(onnx.numpy_helper.to_array(tensor).tobytes())
    return digest.hexdigest()


def find_calibrated(previous: Sequence[Artifact], key: str) -> Artifact | None:
    """Return the artifact whose int8 backbone was made from the same inputs, whatever its name and head are."""
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
    """Return a previous artifact's int8 graph with a new head; None when the heads have different shapes.

    Args:
        previous: Result of `find_calibrated`.
        model: Prepared graph of the new model.
    """
    reused = onnx.load(str(previous.model_path))
    old = [tensor for tensor in reused.graph.initializer if is_head(tensor.name)]
    new = [tensor for tensor in model.graph.initializer if is_head(tensor.name)]
    if [(list(tensor.dims), tensor.data_type) for tensor in old] != [(list(t.dims), t.data_type) for t in new]:
        return None
    for tensor, fresh in zip(old, new, strict=True):
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(fresh), tensor.name))
    return reused
