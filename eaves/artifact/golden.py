"""Golden inputs: test inputs that travel with the model, and the outputs that it must reproduce on every machine.

The expected outputs of an fp32 model come from the training framework, so replaying them repeats the parity proof on
this machine. Those of an int8 model come from the machine that converted it. The predictor is an argument, so this
package imports neither onnxruntime nor TensorFlow; NumPy is imported only by a replay, since the console, which reads
manifests, has no other use for its 6 MB of memory.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from eaves.artifact.manifest import INT8, OUTPUTS, PROBABILITIES, TENSOR, TensorSpec, check_path
from eaves.artifact.store import Artifact
from eaves.errors import ArtifactError, GoldenError, InputError

if TYPE_CHECKING:
    import numpy.typing as npt

GOLDEN = "golden"
INDEX = f"{GOLDEN}/golden.json"
MAX_TENSOR_BYTES = 64 * 1024 * 1024
"""Maximum size of a stored input, bytes; 4096 x 4096 x 3 bytes fit, the largest input that a uint8 recipe makes."""

Tensor: TypeAlias = "npt.NDArray[Any]"
Predict = Callable[[Tensor], Mapping[str, Tensor]]
"""Function from an input batch (1, ...) in the graph's dtype to the graph's outputs by name, each (1, ...)."""
Prepare = Callable[[bytes], Tensor]
"""Function from an image's encoded bytes to one example of the model's input, without the batch dimension."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenCase:
    """One golden input and the outputs that the model must give for it.

    Attributes:
        file: Path of the encoded image in the artifact; for a tensor model, path of the JSON.
        label: The image's true label; empty when it is not known.
        tensor_sha256: Digest of the input tensor's bytes, which proves the recipe's part of the prediction.
        tensor: Path of the stored input tensor, .npy, one example; empty unless a handler makes the input.
        outputs: Outputs that the model must give, by name; numbers in C order.
    """

    file: str
    label: str
    tensor_sha256: str
    tensor: str = ""
    outputs: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenResult:
    """Result of replaying one golden case.

    Attributes:
        file: File of the case.
        label: Label of the case.
        logits: Worst absolute difference of a logit or of a number in a further output; a further output's difference
            is relative to its largest expected number when that is above 1; infinite when there is nothing to compare.
        probabilities: Worst absolute difference of a probability; 0 for a tensor model.
        allowed_logits: Largest difference allowed for logits.
        allowed_probabilities: Largest difference allowed for probabilities.
        fault: What differs, in which part (recipe or model), and by how much; empty when nothing differs.
        hint: Command or edit that fixes the fault.
    """

    file: str
    label: str
    logits: float = math.inf
    probabilities: float = math.inf
    allowed_logits: float
    allowed_probabilities: float
    fault: str = ""
    hint: str = ""

    @property
    def ok(self) -> bool:
        """Whether the model reproduced the case."""
        return not self.fault

    def require(self) -> None:
        """Raise an error when the case was not reproduced.

        Raises:
            GoldenError: When the result has a fault; the message says which.
        """
        if self.fault:
            raise GoldenError(self.fault, hint=self.hint or None)


def load_golden(artifact: Artifact) -> tuple[GoldenCase, ...]:
    """Load every golden case of an artifact.

    Raises:
        ArtifactError: When the index is missing or malformed, or names a file that the manifest doesn't list.
    """
    if INDEX not in artifact.manifest.files:  # the kind and size of an unlisted file are unchecked: it may be a device
        raise ArtifactError(f"{artifact.path}: manifest.json lists no {INDEX}", hint="convert the run again")
    try:
        return tuple(_parse_case(artifact, entry) for entry in json.loads((artifact.path / INDEX).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArtifactError(f"{artifact.path}/{INDEX} can't be read: {error}", hint="convert the run again") from error


def _parse_case(artifact: Artifact, entry: Mapping[str, Any]) -> GoldenCase:
    if not str(entry["label"]).isprintable():
        raise ValueError(f"the label {str(entry['label'])[:80]!r} is not printable")
    return GoldenCase(
        file=_check_listed(artifact, entry["file"]),
        label=str(entry["label"]),
        tensor_sha256=str(entry["tensor_sha256"]),
        tensor=entry["tensor"] and _check_listed(artifact, entry["tensor"]),
        outputs={name: tuple(map(float, values)) for name, values in entry["outputs"].items()},
    )


def write_index(path: Path, cases: Sequence[GoldenCase]) -> None:
    """Write the golden cases to golden.json."""
    path.write_text(json.dumps([asdict(case) for case in cases], indent=1) + "\n", encoding="utf-8")


def tensor_digest(tensor: Tensor) -> str:
    """Return the sha256 of a tensor's bytes in C order, hex."""
    import numpy as np

    return hashlib.sha256(np.ascontiguousarray(tensor).tobytes()).hexdigest()


def check(
    artifact: Artifact, predict: Predict, cases: Sequence[GoldenCase] | None = None, *, prepare: Prepare | None = None
) -> int:
    """Replay golden cases and compare the outputs with the recorded ones.

    Args:
        artifact: Opened artifact.
        predict: Function that runs the session under test.
        cases: Cases to replay; None: all of the artifact's.
        prepare: Function that makes the input, see `replay`.

    Returns:
        Number of cases that were replayed.

    Raises:
        GoldenError: When a case differs; the message names the first one, the part (recipe or model) and the
            difference.
    """
    chosen = load_golden(artifact) if cases is None else cases
    if not chosen:
        raise ArtifactError(f"{artifact.path} has no golden images", hint="convert the run again")
    for case in chosen:
        replay(artifact, predict, case, prepare=prepare).require()
    return len(chosen)


def replay(artifact: Artifact, predict: Predict, case: GoldenCase, *, prepare: Prepare | None = None) -> GoldenResult:
    """Replay one golden case.

    Args:
        artifact: Opened artifact.
        predict: Function that runs the session under test.
        case: Case to replay.
        prepare: Function that makes the input from the encoded bytes, as a handler does; None: use the stored tensor
            when there is one, else the recipe.

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
        if prepare is None and case.tensor:
            tensor = _load_tensor(artifact.path / case.tensor, manifest.input)
        elif prepare is None and manifest.task == TENSOR:  # only the stored tensor can be the input
            message = f"{artifact.path}/{INDEX} names no tensor for {case.file}"
            raise ArtifactError(message, hint="convert the run again")
        else:
            tensor = (prepare or manifest.image_recipe.tensor)(_read(artifact.path / case.file))
    except InputError as error:
        return replace(result, fault=f"golden image {case.file}: {error.message}", hint="convert the run again")
    if tensor_digest(tensor) != case.tensor_sha256:
        return replace(
            result,
            fault=f"golden image {case.file}: this machine decodes it to another input tensor than the conversion did",
            hint="install the locked requirements: the Pillow of this machine decodes or resizes differently"
            if prepare is None
            else "change handler.py so that the same bytes always give the same tensor, on every machine",
        )
    outputs = predict(tensor[None])
    exact = () if manifest.task == TENSOR else OUTPUTS
    off = {
        name: difference(outputs.get(name), case.outputs.get(name, ()), relative=name not in exact)
        for name in {*case.outputs, *exact}
    }
    probabilities = off.pop(PROBABILITIES) if exact else 0.0
    compared = replace(result, logits=max(off.values(), default=math.inf), probabilities=probabilities)
    fault = _fault(compared)
    hint = "this onnxruntime can't reproduce the model: install the locked requirements, or convert the run again"
    if manifest.precision == INT8:
        hint = "this CPU can't reproduce the int8 model: convert with precision fp32"
    return replace(compared, fault=fault, hint=hint) if fault else compared


def _fault(result: GoldenResult) -> str:
    pairs = (
        ("logits", result.logits, result.allowed_logits),
        ("probabilities", result.probabilities, result.allowed_probabilities),
    )
    for what, found, allowed in pairs:
        if not math.isfinite(found):
            return f"golden image {result.file}: the number of {what} differs from the record, or some are not finite"
        if found > allowed:
            return f"golden image {result.file}: {what} differ by {found:.2e} from the record; {allowed:.0e} is allowed"
    return ""


def _load_tensor(path: Path, spec: TensorSpec) -> Tensor:
    import numpy as np

    content = _read(path)
    if len(content) > MAX_TENSOR_BYTES:
        raise ArtifactError(f"{path} has {len(content)} bytes, more than {MAX_TENSOR_BYTES}")
    try:
        # Pickled objects are never allowed: reading one runs code.
        loaded: Tensor = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
        if loaded.dtype != np.dtype(spec.dtype) or not spec.fits(loaded.shape):
            raise ValueError(f"it holds {loaded.dtype} {loaded.shape}, but the graph takes {spec.shape[1:]}")
    except (ValueError, EOFError, MemoryError, OverflowError, TypeError, SyntaxError) as error:
        raise ArtifactError(
            f"{path} is not a plain .npy tensor: {str(error)[:200]}", hint="convert the run again"
        ) from error
    return loaded


def difference(found: Tensor | None, expected: Sequence[float] | Tensor, *, relative: bool = True) -> float:
    """Return how much an output of any scale and shape differs from the expected one.

    Args:
        found: (1, ...) numbers that the model gave.
        expected: The expected numbers, in C order.
        relative: Whether the difference is relative to the largest expected number when that is above 1.

    Returns:
        Worst difference; infinite when the number of values differs or a value is not finite.
    """
    import numpy as np

    recorded = np.asarray([expected], dtype=np.float64)
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiub":
        return math.inf
    if found.shape[:1] != (1,) or found.size != recorded.size:
        return math.inf
    flat = found.astype(np.float64).reshape(recorded.shape)
    if not (np.all(np.isfinite(flat)) and np.all(np.isfinite(recorded))):
        return math.inf
    largest = max(1.0, np.max(np.abs(recorded), initial=0.0)) if relative else 1.0
    return float(np.max(np.abs(flat - recorded), initial=0.0) / largest)


def _check_listed(artifact: Artifact, name: str) -> str:
    if not check_path(name).startswith(f"{GOLDEN}/") or name not in artifact.manifest.files:
        raise ArtifactError(f"{artifact.path}/{INDEX} names {name!r}, which the manifest doesn't list as a golden file")
    return name


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path} can't be read: {error.strerror}", hint="convert the run again") from error
