"""Golden images: inputs that travel with the model, and the outputs it must reproduce wherever it runs.

The expected logits are the training framework's own, so replaying them is the parity proof again, on this machine. The
predictor is an argument: this room knows neither onnxruntime nor TensorFlow.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eaves.artifact.manifest import check_path
from eaves.artifact.store import Artifact
from eaves.errors import ArtifactError, GoldenError, ImageError

GOLDEN = "golden"
INDEX = f"{GOLDEN}/golden.json"

Logits = npt.NDArray[np.float32]
Predict = Callable[[npt.NDArray[Any]], Logits]
"""Input batch (1, H, W, 3) in the recipe's dtype to logits (1, labels) float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenCase:
    """One input and what must come of it.

    Attributes:
        file: Path of the encoded image in the artifact.
        label: The image's true label.
        tensor_sha256: Digest of the input tensor's bytes: the recipe's half of the proof.
        logits: What the training framework answered.
    """

    file: str
    label: str
    tensor_sha256: str
    logits: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain data for golden.json."""
        return {
            "file": self.file,
            "label": self.label,
            "tensor_sha256": self.tensor_sha256,
            "logits": list(self.logits),
        }


def load_golden(artifact: Artifact) -> tuple[GoldenCase, ...]:
    """Every golden case of an artifact.

    Raises:
        ArtifactError: When the index is missing or malformed, or names what the manifest doesn't list.
    """
    try:
        entries = json.loads((artifact.path / INDEX).read_bytes())
        return tuple(
            GoldenCase(
                file=_check_listed(artifact, entry["file"]),
                label=str(entry["label"]),
                tensor_sha256=str(entry["tensor_sha256"]),
                logits=tuple(float(value) for value in entry["logits"]),
            )
            for entry in entries
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(f"{artifact.path}/{INDEX} can't be read: {error}", hint="convert the run again") from error


def write_index(path: Path, cases: Sequence[GoldenCase]) -> None:
    """Write golden.json."""
    path.write_text(json.dumps([case.to_dict() for case in cases], indent=1) + "\n", encoding="utf-8")


def tensor_digest(tensor: npt.NDArray[Any]) -> str:
    """sha256 of a tensor's bytes in C order, hex."""
    return hashlib.sha256(np.ascontiguousarray(tensor).tobytes()).hexdigest()


def check(artifact: Artifact, predict: Predict, cases: Sequence[GoldenCase] | None = None) -> int:
    """Replay golden cases and compare with what is recorded.

    Args:
        artifact: Opened artifact.
        predict: The session under test.
        cases: Which ones; None: all.

    Returns:
        How many were replayed.

    Raises:
        GoldenError: Naming the first case that differs, in which half (recipe or model), and by how much.
    """
    chosen = load_golden(artifact) if cases is None else cases
    if not chosen:
        raise ArtifactError(f"{artifact.path} has no golden images", hint="convert the run again")
    for case in chosen:
        _check_case(artifact, predict, case)
    return len(chosen)


def _check_case(artifact: Artifact, predict: Predict, case: GoldenCase) -> None:
    manifest = artifact.manifest
    try:
        tensor = manifest.recipe.tensor(_read(artifact.path / case.file))
    except ImageError as error:
        raise GoldenError(f"golden image {case.file}: {error.message}", hint="convert the run again") from error
    if tensor_digest(tensor) != case.tensor_sha256:
        raise GoldenError(
            f"golden image {case.file}: this machine makes another input tensor of it than conversion did",
            hint="the Pillow here decodes or resizes differently: install the locked requirements",
        )
    logits = predict(tensor[np.newaxis])[0]
    expected = np.asarray(case.logits, dtype=np.float32)
    if logits.shape != expected.shape:
        raise GoldenError(f"golden image {case.file}: {logits.size} outputs, {expected.size} expected")
    if not (np.all(np.isfinite(logits)) and np.all(np.isfinite(expected))):
        raise GoldenError(f"golden image {case.file}: logits that are not finite, here or as recorded")
    difference = float(np.max(np.abs(logits - expected), initial=0.0))
    if difference > manifest.parity.tolerance:
        raise GoldenError(
            f"golden image {case.file}: logits differ by {difference:.2e}, more than {manifest.parity.tolerance:.0e}",
            hint="this CPU or onnxruntime can't reproduce the model: convert with precision fp32",
        )


def _check_listed(artifact: Artifact, name: str) -> str:
    if check_path(name) not in artifact.manifest.files:
        raise ArtifactError(f"{artifact.path}/{INDEX} names {name!r}, which the manifest doesn't list")
    return name


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path} can't be read: {error.strerror}", hint="convert the run again") from error
