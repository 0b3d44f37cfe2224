"""The manifest: one frozen value that says everything about an artifact, and its JSON form.

`files` lists every other file with size and sha256, so the sha256 of manifest.json itself names the whole artifact:
that is the artifact digest in replies and deploys. Nothing in it depends on when or where the conversion ran.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any

from eaves.config import Layer, build, setting
from eaves.errors import ArtifactError, ConfigError
from eaves.recipe import Recipe, parse_recipe

SCHEMA_VERSION = 1
MAX_LABELS = 100_000
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """Size and digest of one file of the artifact."""

    size_bytes: int = setting(0, "Bytes.", minimum=0)
    sha256: str = setting("", "Hex digest of the content.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output of the graph; -1 is the batch dimension."""

    name: str = setting("", "As in the graph.")
    dtype: str = setting("float32", "numpy's name of the type.")
    shape: tuple[int, ...] = setting((), "Sizes by axis; -1: any.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """The proof that the converted model answers as the trained one, from encoded bytes to logits, on real images."""

    images: int = setting(0, "How many images were compared.", minimum=0)
    max_abs_error: float = setting(0.0, "Worst absolute difference of a logit.")
    max_abs_error_probabilities: float = setting(0.0, "Worst absolute difference of a probability.")
    max_rel_error: float = setting(0.0, "Worst difference of a logit relative to the largest logit of its image.")
    top1_agreement: float = setting(0.0, "Share of images on which both name the same label.")
    tolerance: float = setting(0.0, "The absolute difference allowed, of a logit and of a probability.")
    passed: bool = setting(False, "The verdict; an artifact that failed is never written.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an artifact is.

    Attributes:
        name: Of the model.
        version: Of the model, from the run; sorts by time of training.
        task: What the outputs mean: `classify`.
        labels: In the order of the outputs.
        input: The graph's input.
        outputs: The graph's outputs: `logits`, `probabilities`.
        recipe: Bytes to input tensor.
        parity: The conversion's proof.
        temperature: What logits are divided by before they become probabilities; for people, the graph does it itself.
        opset: ONNX operator set of the graph.
        run_digest: sha256 of the run's run.json.
        toolchain: Versions that made it, by distribution name.
        files: Every other file, by relative path.
        schema_version: Of this document.
    """

    name: str
    version: str
    labels: tuple[str, ...]
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]
    recipe: Recipe
    parity: Parity
    files: Mapping[str, FileEntry]
    task: str = "classify"
    temperature: float = 1.0
    opset: int = 0
    run_digest: str = ""
    toolchain: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> bytes:
        """The canonical bytes of manifest.json."""
        return json.dumps(asdict(self), indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"

    def digest(self) -> str:
        """sha256 of the canonical bytes, hex: the artifact digest."""
        return hashlib.sha256(self.to_json()).hexdigest()


def parse_manifest(content: bytes) -> Manifest:
    """Read manifest.json.

    Raises:
        ArtifactError: When it is not a manifest this version understands, or names paths outside the artifact.
    """
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"manifest.json is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ArtifactError("manifest.json is not a JSON object")
    if values.get("schema_version") != SCHEMA_VERSION:
        found = values.get("schema_version")
        raise ArtifactError(
            f"manifest.json has schema_version {found!r}, this Eaves reads {SCHEMA_VERSION}", hint="update Eaves"
        )
    try:
        return _manifest(values)
    except ConfigError as error:
        raise ArtifactError(error.message) from error
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ArtifactError(f"manifest.json is incomplete or malformed: {error!r}") from error


def _manifest(values: Mapping[str, Any]) -> Manifest:
    labels = values["labels"]
    if not (
        isinstance(labels, list) and 1 <= len(labels) <= MAX_LABELS and all(isinstance(label, str) for label in labels)
    ):
        raise ArtifactError("manifest.json: labels must be a list of strings")
    outputs = [_section(TensorSpec, entry, f"outputs[{index}]") for index, entry in enumerate(values["outputs"])]
    files = {check_path(path): _section(FileEntry, entry, f"files[{path}]") for path, entry in values["files"].items()}
    for path, entry in files.items():
        if not _SHA256.fullmatch(entry.sha256):
            raise ArtifactError(f"manifest.json: files: {path}: sha256 is not 64 hex digits")
    temperature = float(values["temperature"])
    if not 0 < temperature < math.inf:
        raise ArtifactError(f"manifest.json: temperature must be > 0 and finite (got {temperature})")
    return Manifest(
        name=str(values["name"]),
        version=str(values["version"]),
        labels=tuple(labels),
        input=_section(TensorSpec, values["input"], "input"),
        outputs=tuple(outputs),
        recipe=parse_recipe(values["recipe"]),
        parity=_section(Parity, values["parity"], "parity"),
        files=files,
        task=str(values["task"]),
        temperature=temperature,
        opset=int(values["opset"]),
        run_digest=str(values["run_digest"]),
        toolchain={str(key): str(value) for key, value in values["toolchain"].items()},
    )


def _section(cls: type[Any], values: Any, where: str) -> Any:
    if not isinstance(values, Mapping):
        raise ArtifactError(f"manifest.json: {where} must be an object")
    return build(cls, Layer(origin=f"manifest.json: {where}", values=values))


def check_path(path: str) -> str:
    """The path, when it is a plain relative one that stays inside the artifact.

    Raises:
        ArtifactError: For absolute paths, `..`, backslashes, control characters and names nobody needs.
    """
    parts = PurePosixPath(path).parts
    plain = bool(parts) and not path.startswith("/") and ".." not in parts and path == "/".join(parts)
    if not plain or "\\" in path or not path.isprintable() or len(path) > 255:
        raise ArtifactError(f"manifest.json names a path that may leave the artifact: {path[:80]!r}")
    return path
