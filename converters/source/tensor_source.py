"""Opens a model that doesn't take images: an ONNX file and a declaration with `task: tensor`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from converters.source.declaration import NAME, load_tensor_declaration
from converters.source.model_source import AT_MOST, digest_of, find_declaration, route_of
from eaves.errors import ConfigError, ConversionError, Fault
from trainer.run.run import MANIFEST


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSource:
    """An ONNX file of a model that doesn't take images.

    Attributes:
        model: Path of the file.
        name: Name of the model.
        version: Version of the model.
        labels: Names for the numbers of one output; empty for none.
        digest: sha256 of the file and its weights, hex.
        samples: Files with one example each, for the proof and the golden examples.
        licence: SPDX identifier of the model's licence; empty if not known.
        handler: Path of the handler.py that is copied into the artifact, or None.
    """

    model: Path
    name: str
    version: str
    labels: tuple[str, ...]
    digest: str
    samples: tuple[Path, ...]
    licence: str = ""
    handler: Path | None = None


def open_tensor_source(
    path: Path, declaration: Path | None = None, *, handler: Path | None = None
) -> TensorSource | None:
    """Open and check a model that is declared for the task tensor; return None for other models.

    Args:
        path: Path of an `.onnx` file.
        declaration: Path of the declaration; None means the `model.yaml` beside the file.
        handler: Path of the handler.py that is copied into the artifact; samples may then be files of any kind.

    Raises:
        ConfigError: The declaration has faults; the error lists all of them.
        ConversionError: The path is no `.onnx` file, or the declaration is missing.
    """
    if (path / MANIFEST).is_file():
        return None
    route = route_of(path)
    declared = load_tensor_declaration(find_declaration(path, declaration))
    if declared is None:
        return None
    if route != "onnx":
        raise ConversionError(
            f"{path} is not an .onnx file, which the task tensor requires",
            hint="export the model to ONNX: python -m tf2onnx.convert --saved-model FOLDER --output model.onnx",
        )
    found = declared.samples.glob("[!.]*" if handler else "*.json")
    files = sorted(file for file in found if file.is_file())[:AT_MOST]
    if not files:
        message = f"the folder of samples {declared.samples} has no .json files"
        raise ConfigError([Fault(origin=NAME, path="samples", message=message)])
    digest = digest_of(path, route)
    return TensorSource(
        model=path,
        name=declared.name,
        version=declared.version or f"0-{digest[:8]}",
        labels=declared.labels,
        digest=digest,
        samples=tuple(files),
        licence=declared.licence,
        handler=handler,
    )
