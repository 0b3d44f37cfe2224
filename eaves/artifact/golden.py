"""Golden inputs: they travel with the model, with the outputs it must reproduce wherever it runs.

The expected outputs of an fp32 model are the training framework's own, so replaying them is the parity proof again, on
this machine; of an int8 model they are the converting machine's. The predictor is an argument: this room knows neither
onnxruntime nor TensorFlow.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eaves.artifact.manifest import Manifest, check_path
from eaves.artifact.store import Artifact
from eaves.artifact.verdicts import INT8
from eaves.errors import ArtifactError, GoldenError, ImageError

GOLDEN = "golden"
INDEX = f"{GOLDEN}/golden.json"
MAX_TENSOR_BYTES = 64 * 1024 * 1024
"""Of a stored input: 4096 x 4096 x 3 bytes fit, the largest a recipe makes in uint8."""

Floats = npt.NDArray[np.float32]
Tensor = npt.NDArray[Any]
Predict = Callable[[Tensor], tuple[Floats, Floats]]
"""Input batch (1, ...) in the graph's dtype to logits and probabilities, each (1, labels) float32."""
Prepare = Callable[[bytes], Tensor]
"""Encoded bytes to one example, without the batch dimension."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenCase:
    """One input and what must come of it.

    Attributes:
        file: Path of the encoded image in the artifact.
        label: The image's true label.
        tensor_sha256: Digest of the input tensor's bytes: the recipe's half of the proof.
        tensor: Path of the stored input tensor, .npy, one example; only where a handler makes the input, else empty.
        logits: What the model must answer.
        probabilities: What the model must answer.
    """

    file: str
    label: str
    tensor_sha256: str
    tensor: str = ""
    logits: tuple[float, ...]
    probabilities: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain data for golden.json."""
        return {**asdict(self), "logits": list(self.logits), "probabilities": list(self.probabilities)}


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenResult:
    """What replaying one case showed.

    Attributes:
        file: The case's.
        label: The case's.
        logits: Worst absolute difference of a logit.
        probabilities: Worst absolute difference of a probability.
        allowed_logits: What is allowed of it.
        allowed_probabilities: What is allowed of it.
    """

    file: str
    label: str
    logits: float
    probabilities: float
    allowed_logits: float
    allowed_probabilities: float

    @property
    def ok(self) -> bool:
        """Whether both are within what is allowed; a difference that is no number is not."""
        return self.logits <= self.allowed_logits and self.probabilities <= self.allowed_probabilities


def load_golden(artifact: Artifact) -> tuple[GoldenCase, ...]:
    """Every golden case of an artifact.

    Raises:
        ArtifactError: When the index is missing or malformed, or names what the manifest doesn't list.
    """
    try:
        entries = json.loads((artifact.path / INDEX).read_bytes())
        return tuple(_parse_case(artifact, entry) for entry in entries)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(f"{artifact.path}/{INDEX} can't be read: {error}", hint="convert the run again") from error


def write_index(path: Path, cases: Sequence[GoldenCase]) -> None:
    """Write golden.json."""
    path.write_text(json.dumps([case.to_dict() for case in cases], indent=1) + "\n", encoding="utf-8")


def tensor_digest(tensor: Tensor) -> str:
    """sha256 of a tensor's bytes in C order, hex."""
    return hashlib.sha256(np.ascontiguousarray(tensor).tobytes()).hexdigest()


def check(
    artifact: Artifact, predict: Predict, cases: Sequence[GoldenCase] | None = None, *, prepare: Prepare | None = None
) -> int:
    """Replay golden cases and compare with what is recorded.

    Args:
        artifact: Opened artifact.
        predict: The session under test.
        cases: Which ones; None: all.
        prepare: As in `replay`.

    Returns:
        How many were replayed.

    Raises:
        GoldenError: Naming the first case that differs, in which half (recipe or model), and by how much.
    """
    chosen = load_golden(artifact) if cases is None else cases
    if not chosen:
        raise ArtifactError(f"{artifact.path} has no golden images", hint="convert the run again")
    for case in chosen:
        require(replay(artifact, predict, case, prepare=prepare), artifact.manifest)
    return len(chosen)


def replay(artifact: Artifact, predict: Predict, case: GoldenCase, *, prepare: Prepare | None = None) -> GoldenResult:
    """Replay one case.

    Args:
        artifact: Opened artifact.
        predict: The session under test.
        case: Which one.
        prepare: Makes the input of the encoded bytes; None: the recipe does, or where a handler would, the stored
            tensor is taken.

    Raises:
        GoldenError: When another input tensor comes of it, or outputs of another shape.
    """
    manifest = artifact.manifest
    tensor = _input(artifact, case, prepare)
    if tensor_digest(tensor) != case.tensor_sha256:
        raise GoldenError(
            f"golden image {case.file}: this machine makes another input tensor of it than conversion did",
            hint="the Pillow here decodes or resizes differently: install the locked requirements",
        )
    logits, probabilities = predict(tensor[np.newaxis])
    return GoldenResult(
        file=case.file,
        label=case.label,
        logits=_difference(case, "logits", logits[0], case.logits),
        probabilities=_difference(case, "probabilities", probabilities[0], case.probabilities),
        allowed_logits=manifest.golden_tolerance,
        allowed_probabilities=min(manifest.golden_tolerance, 1.0),
    )


def require(result: GoldenResult, manifest: Manifest) -> None:
    """Raise when a replayed case differs.

    Raises:
        GoldenError: Naming the case, the output and the difference.
    """
    if result.ok:
        return
    hint = "this CPU or onnxruntime can't reproduce the model: install the locked requirements or convert the run again"
    if manifest.precision == INT8:
        hint = "this CPU can't reproduce the int8 model: convert with precision fp32"
    what, found, allowed = "logits", result.logits, result.allowed_logits
    if found <= allowed:
        what, found, allowed = "probabilities", result.probabilities, result.allowed_probabilities
    raise GoldenError(
        f"golden image {result.file}: {what} differ by {found:.2e}, more than {allowed:.0e}"
        if np.isfinite(found)
        else f"golden image {result.file}: {what} that are not finite, here or as recorded",
        hint=hint,
    )


def _parse_case(artifact: Artifact, entry: Any) -> GoldenCase:
    tensor = entry["tensor"]
    return GoldenCase(
        file=_check_listed(artifact, entry["file"]),
        label=str(entry["label"]),
        tensor_sha256=str(entry["tensor_sha256"]),
        tensor=tensor and _check_listed(artifact, tensor),
        logits=tuple(float(value) for value in entry["logits"]),
        probabilities=tuple(float(value) for value in entry["probabilities"]),
    )


def _input(artifact: Artifact, case: GoldenCase, prepare: Prepare | None) -> Tensor:
    if prepare is None and case.tensor:
        return _load_tensor(artifact.path / case.tensor)
    try:
        return (prepare or artifact.manifest.recipe.tensor)(_read(artifact.path / case.file))
    except ImageError as error:
        raise GoldenError(f"golden image {case.file}: {error.message}", hint="convert the run again") from error


def _load_tensor(path: Path) -> Tensor:
    content = _read(path)
    if len(content) > MAX_TENSOR_BYTES:
        raise ArtifactError(f"{path} has {len(content)} bytes, more than {MAX_TENSOR_BYTES}")
    try:
        # Never pickled objects, which run code when they are read.
        loaded: Tensor = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, MemoryError, OverflowError, TypeError, SyntaxError) as error:
        raise ArtifactError(
            f"{path} is not a plain .npy tensor: {str(error)[:200]}", hint="convert the run again"
        ) from error
    return loaded


def _difference(case: GoldenCase, what: str, found: Floats, expected: Sequence[float]) -> float:
    """Worst absolute difference; infinite when either holds what is not finite."""
    recorded = np.asarray(expected, dtype=np.float32)
    if found.shape != recorded.shape:
        raise GoldenError(f"golden image {case.file}: {found.size} {what}, {recorded.size} expected")
    if not (np.all(np.isfinite(found)) and np.all(np.isfinite(recorded))):
        return float("inf")
    return float(np.max(np.abs(found - recorded), initial=0.0))


def _check_listed(artifact: Artifact, name: str) -> str:
    if check_path(name) not in artifact.manifest.files:
        raise ArtifactError(f"{artifact.path}/{INDEX} names {name!r}, which the manifest doesn't list")
    return name


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path} can't be read: {error.strerror}", hint="convert the run again") from error
