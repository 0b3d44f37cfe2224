"""Golden inputs: they travel with the model, with the outputs it must reproduce wherever it runs.

The expected outputs of an fp32 model are the training framework's own, so replaying them is the parity proof again, on
this machine; of an int8 model they are the converting machine's. The predictor is an argument: this room knows neither
onnxruntime nor TensorFlow.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eaves.artifact.conversion_results import INT8
from eaves.artifact.manifest import TENSOR, Manifest, TensorSpec, check_path
from eaves.artifact.store import Artifact
from eaves.errors import ArtifactError, GoldenError, InputError

GOLDEN = "golden"
INDEX = f"{GOLDEN}/golden.json"
MAX_TENSOR_BYTES = 64 * 1024 * 1024
"""Of a stored input: 4096 x 4096 x 3 bytes fit, the largest a recipe makes in uint8."""

Floats = npt.NDArray[np.float32]
Tensor = npt.NDArray[Any]
Predict = Callable[[Tensor], Mapping[str, Tensor]]
"""Input batch (1, ...) in the graph's dtype to the graph's outputs by name, each (1, ...)."""
Prepare = Callable[[bytes], Tensor]
"""Encoded bytes to one example, without the batch dimension."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenCase:
    """One input and what must come of it.

    Attributes:
        file: Path of the encoded image in the artifact; of a tensor model's, of the JSON.
        label: The image's true label; empty where nobody knows.
        tensor_sha256: Digest of the input tensor's bytes: the recipe's half of the proof.
        tensor: Path of the stored input tensor, .npy, one example; only where a handler makes the input, else empty.
        logits: What the model must answer; empty of a tensor model.
        probabilities: What the model must answer; empty of a tensor model.
        outputs: Its further outputs by name, or all of a tensor model's; numbers in C order.
    """

    file: str
    label: str
    tensor_sha256: str
    tensor: str = ""
    logits: tuple[float, ...] = ()
    probabilities: tuple[float, ...] = ()
    outputs: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As plain data for golden.json; without `outputs` where there are none."""
        made = {**asdict(self), "logits": list(self.logits), "probabilities": list(self.probabilities)}
        further = {name: list(values) for name, values in made.pop("outputs").items()}
        return {**made, "outputs": further} if further else made


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenResult:
    """What replaying one case showed.

    Attributes:
        file: The case's.
        label: The case's.
        logits: Worst absolute difference of a logit, or of a number in further outputs, those relative to the largest
            of its output where that is above 1; infinite when there is nothing to compare.
        probabilities: The same of a probability; 0 of a tensor model.
        allowed_logits: What is allowed of it.
        allowed_probabilities: What is allowed of it.
        fault: What differs, in which half (recipe or model), and by how much; empty when nothing does.
        hint: What mends it.
        graph: Path of the graph that was asked, in the artifact, where whoever replays says so.
    """

    file: str
    label: str
    logits: float = math.inf
    probabilities: float = math.inf
    allowed_logits: float
    allowed_probabilities: float
    fault: str = ""
    hint: str = ""
    graph: str = ""

    @property
    def ok(self) -> bool:
        """Whether the case was reproduced."""
        return not self.fault

    def require(self) -> None:
        """Raise when it was not.

        Raises:
            GoldenError: With the fault.
        """
        if self.fault:
            raise GoldenError(self.fault, hint=self.hint or None)


def load_golden(artifact: Artifact) -> tuple[GoldenCase, ...]:
    """Every golden case of an artifact.

    Raises:
        ArtifactError: When the index is missing or malformed, or names what the manifest doesn't list.
    """
    if INDEX not in artifact.manifest.files:  # then nobody has looked at its kind and size: it may be a device
        raise ArtifactError(f"{artifact.path}: manifest.json lists no {INDEX}", hint="convert the run again")
    try:
        entries = json.loads((artifact.path / INDEX).read_bytes())
        return tuple(_parse_case(artifact, entry) for entry in entries)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
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
        replay(artifact, predict, case, prepare=prepare).require()
    return len(chosen)


def replay(artifact: Artifact, predict: Predict, case: GoldenCase, *, prepare: Prepare | None = None) -> GoldenResult:
    """Replay one case.

    Args:
        artifact: Opened artifact.
        predict: The session under test.
        case: Which one.
        prepare: Makes the input of the encoded bytes, as a handler does; None: the stored tensor where there is one,
            else the recipe.

    Raises:
        ArtifactError: When the case's files can't be read.
    """
    manifest = artifact.manifest
    result = GoldenResult(
        file=case.file,
        label=case.label,
        allowed_logits=manifest.golden_tolerance,
        allowed_probabilities=min(manifest.golden_tolerance, 1.0),
    )
    try:
        tensor = _input(artifact, case, prepare)
    except InputError as error:
        return replace(result, fault=f"golden image {case.file}: {error.message}", hint="convert the run again")
    if tensor_digest(tensor) != case.tensor_sha256:
        return replace(
            result,
            fault=f"golden image {case.file}: this machine makes another input tensor of it than conversion did",
            hint="the Pillow here decodes or resizes differently: install the locked requirements"
            if prepare is None
            else "handler.py must make the same of the same bytes, everywhere and each time",
        )
    outputs = predict(tensor[np.newaxis])
    logits = [difference(outputs.get(name), expected) for name, expected in case.outputs.items()]
    probabilities = 0.0
    if artifact.manifest.task != TENSOR:
        logits.append(_difference(outputs["logits"], case.logits))
        probabilities = _difference(outputs["probabilities"], case.probabilities)
    compared = replace(result, logits=max(logits, default=math.inf), probabilities=probabilities)
    fault = _fault(compared)
    return replace(compared, fault=fault, hint=_hint(manifest)) if fault else compared


def _fault(result: GoldenResult) -> str:
    pairs = (
        ("logits", result.logits, result.allowed_logits),
        ("probabilities", result.probabilities, result.allowed_probabilities),
    )
    for what, found, allowed in pairs:
        if not math.isfinite(found):
            return f"golden image {result.file}: {what} of another number, or not finite, here or as recorded"
        if found > allowed:
            return f"golden image {result.file}: {what} differ by {found:.2e}, more than {allowed:.0e}"
    return ""


def _hint(manifest: Manifest) -> str:
    if manifest.precision == INT8:
        return "this CPU can't reproduce the int8 model: convert with precision fp32"
    return "this onnxruntime can't reproduce the model: install the locked requirements, or convert the run again"


def _parse_case(artifact: Artifact, entry: Any) -> GoldenCase:
    tensor = entry["tensor"]
    return GoldenCase(
        file=_check_listed(artifact, entry["file"]),
        label=_printable(str(entry["label"])),
        tensor_sha256=str(entry["tensor_sha256"]),
        tensor=tensor and _check_listed(artifact, tensor),
        logits=tuple(float(value) for value in entry["logits"]),
        probabilities=tuple(float(value) for value in entry["probabilities"]),
        outputs={
            str(name): tuple(float(value) for value in values) for name, values in entry.get("outputs", {}).items()
        },
    )


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"the label {text[:80]!r} is not printable")
    return text


def _input(artifact: Artifact, case: GoldenCase, prepare: Prepare | None) -> Tensor:
    if prepare is None and case.tensor:
        return _load_tensor(artifact.path / case.tensor, artifact.manifest.input)
    if prepare is None and artifact.manifest.task == TENSOR:  # a digest and a shape say what a recipe would
        raise ArtifactError(f"{artifact.path}/{INDEX} names no tensor for {case.file}", hint="convert again")
    return (prepare or artifact.manifest.image_recipe.tensor)(_read(artifact.path / case.file))


def _load_tensor(path: Path, spec: TensorSpec) -> Tensor:
    content = _read(path)
    if len(content) > MAX_TENSOR_BYTES:
        raise ArtifactError(f"{path} has {len(content)} bytes, more than {MAX_TENSOR_BYTES}")
    try:
        _check_header(content, spec)
        # Never pickled objects, which run code when they are read.
        loaded: Tensor = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, MemoryError, OverflowError, TypeError, SyntaxError) as error:
        raise ArtifactError(
            f"{path} is not a plain .npy tensor: {str(error)[:200]}", hint="convert the run again"
        ) from error
    return loaded


def _check_header(content: bytes, spec: TensorSpec) -> None:
    """Before anything is allocated: a header of a hundred bytes may claim a petabyte.

    Source: NumPy, NEP 1, version 1.0, which `numpy.save` writes unless a structured type needs more.
    """
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"version {version} of the format")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype != np.dtype(spec.dtype) or not spec.fits(shape):
        raise ValueError(f"it holds {dtype} {shape}, the graph takes {spec.dtype} {spec.shape[1:]}")
    if math.prod(shape) * dtype.itemsize != len(content) - stream.tell():
        raise ValueError(f"{dtype} {shape} doesn't take {len(content) - stream.tell()} bytes")


def _difference(found: Floats, expected: Sequence[float]) -> float:
    """Worst absolute difference of a batch of one; infinite when shapes differ or either holds what is not finite."""
    recorded = np.asarray([expected], dtype=np.float32)
    if found.shape != recorded.shape or not (np.all(np.isfinite(found)) and np.all(np.isfinite(recorded))):
        return math.inf
    return float(np.max(np.abs(found - recorded), initial=0.0))


def difference(found: Tensor | None, expected: Sequence[float] | Tensor) -> float:
    """How far an output of any scale and shape is off.

    Args:
        found: (1, ...) numbers.
        expected: As many, in C order.

    Returns:
        Worst absolute difference, relative to the largest number expected where that is above 1; infinite when there
        are others than expected or some are not finite.
    """
    recorded = np.asarray([expected], dtype=np.float64)
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiub":
        return math.inf
    if found.shape[:1] != (1,) or found.size != recorded.size:
        return math.inf
    flat = found.astype(np.float64).reshape(recorded.shape)
    if not (np.all(np.isfinite(flat)) and np.all(np.isfinite(recorded))):
        return math.inf
    return float(np.max(np.abs(flat - recorded), initial=0.0) / max(1.0, np.max(np.abs(recorded), initial=0.0)))


def _check_listed(artifact: Artifact, name: str) -> str:
    if not check_path(name).startswith(f"{GOLDEN}/") or name not in artifact.manifest.files:
        raise ArtifactError(f"{artifact.path}/{INDEX} names {name!r}, which the manifest doesn't list among them")
    return name


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path} can't be read: {error.strerror}", hint="convert the run again") from error
