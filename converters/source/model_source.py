"""What a conversion starts from: a run of ours, or a model that others made and a declaration describes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from converters.source.declaration import NAME, Declaration, load_declaration
from converters.source.model_interface import Interface
from eaves.artifact.manifest import CLASSIFY
from eaves.artifact.store import file_digest
from eaves.errors import ConfigError, ConversionError, Fault
from eaves.recipe import Recipe
from trainer.run.run import MANIFEST, ParitySample, open_run

Route = Literal["run", "keras", "saved_model", "onnx"]
PER_LABEL, AT_MOST = 8, 200
"""Samples for the proof; a declared folder may hold thousands of images."""
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """A model to convert, and what is known of it.

    Attributes:
        route: What kind of files it is.
        model: SavedModel directory, `.keras` or `.onnx` file.
        name: Of the model.
        version: Of the model.
        labels: Class names in the order of the outputs.
        recipe: Bytes to tensor; always uint8, what `interface` scales is scaled in the graph.
        interface: How the model itself is fed and read.
        digest: sha256, hex: of a run's run.json, of a file, of the sorted digests of a directory's files.
        signature: Of a SavedModel.
        split: Whether training froze a backbone, so that the weights are split.
        samples: Labelled images for the proof and the goldens.
        temperature: What logits are divided by before they become probabilities.
        data_path: The labelled images, folder or URI, for judging what loses accuracy; None when nobody knows.
        licence: SPDX identifier, or empty.
        task: What the artifact does.
        handler: The handler.py that goes into the artifact, or None.
    """

    route: Route
    model: Path
    name: str
    version: str
    labels: tuple[str, ...]
    recipe: Recipe
    interface: Interface
    digest: str
    signature: str = "serving_default"
    split: bool = False
    samples: tuple[ParitySample, ...] = ()
    temperature: float = 1.0
    data_path: str | None = None
    licence: str = ""
    task: str = CLASSIFY
    handler: Path | None = None

    def job(self) -> dict[str, Any]:
        """What child processes need to know, as plain data."""
        return {
            "route": self.route,
            "model": str(self.model.absolute()),
            "signature": self.signature,
            "layout": self.interface.layout,
            "height": self.recipe.height,
            "width": self.recipe.width,
            "recipe": self.recipe.to_dict(),
            "interface": self.interface.to_dict(),
            "handler": str(self.handler.absolute()) if self.handler else None,
        }


def open_source(path: Path, declaration: Path | None = None, *, handler: Path | None = None) -> ModelSource:
    """Tell what a path holds, and check it.

    Args:
        path: A run, a SavedModel, a `.keras` or an `.onnx` file.
        declaration: `model.yaml`; when not given, the one in the directory or beside the file.
        handler: The handler.py that goes into the artifact; samples may then be files of any kind.

    Raises:
        RunError: When a run is incomplete.
        ConfigError: When the declaration has faults, all of them together.
        ConversionError: When it is none of these, or its declaration is missing.
    """
    if (path / MANIFEST).is_file():
        return replace(_open_run(path), handler=handler)
    route = route_of(path)
    declared = load_declaration(find_declaration(path, declaration))
    digest = digest_of(path, route)
    return ModelSource(
        route=route,
        model=path,
        name=declared.name,
        version=declared.version or f"0-{digest[:8]}",
        labels=declared.labels,
        recipe=declared.recipe,
        interface=declared.interface,
        digest=digest,
        signature=declared.signature,
        samples=_samples(declared, any_kind=handler is not None),
        data_path=str(declared.samples),
        licence=declared.licence,
        task=declared.task,
        handler=handler,
    )


def _open_run(path: Path) -> ModelSource:
    run = open_run(path)
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        data_path = str(config["data"]["path"])
    except (OSError, ValueError, KeyError, TypeError):  # of another version: what isn't known can't be judged
        data_path = None
    return ModelSource(
        route="run",
        model=run.saved_model,
        name=run.name,
        version=run.version,
        labels=run.labels,
        recipe=run.recipe,
        interface=Interface(),
        digest=file_digest(path / MANIFEST),
        split=run.mode == "frozen",
        samples=run.samples(),
        temperature=float(run.metrics().get("temperature", 1.0)),
        data_path=data_path,
    )


def route_of(path: Path) -> Route:
    """What kind of files a model that others made is.

    Raises:
        ConversionError: When it is none that is known.
    """
    if (path / "saved_model.pb").is_file():
        return "saved_model"
    if path.is_file() and path.suffix == ".keras":
        return "keras"
    if path.is_file() and path.suffix == ".onnx":
        return "onnx"
    if not path.exists():
        found = "there is nothing"
    elif path.is_dir():
        names = sorted(entry.name for entry in path.iterdir())
        found = f"it is a directory with {', '.join(names[:8]) or 'nothing in it'}{', ...' if len(names) > 8 else ''}"
    else:
        found = f"it is a file that ends in {path.suffix or 'nothing'}"
    raise ConversionError(
        f"{path} is nothing to convert: {found}",
        hint="name a run (it holds run.json), a SavedModel (saved_model.pb), a .keras file or an .onnx file",
    )


def find_declaration(path: Path, declaration: Path | None) -> Path:
    """What describes a model: the file that is named, or the one beside it.

    Raises:
        ConversionError: When it isn't there.
    """
    beside = (path if path.is_dir() else path.parent) / NAME
    if declaration is None and not beside.is_file() and path.is_dir():
        beside = path.absolute().parent / NAME
    chosen = declaration or beside
    if not chosen.is_file():
        raise ConversionError(
            f"{path} needs a declaration, which says what the model doesn't: {chosen} isn't there",
            hint=f"write {NAME} with name, labels, height, width, samples and the scale; see docs/02-conversion.md",
        )
    return chosen


def digest_of(path: Path, route: Route) -> str:
    """sha256 of a model's files, hex. Names count too: a file that takes another's place is another model."""
    if route == "keras":
        return file_digest(path)
    if route == "onnx":
        from converters.source.untrusted_onnx import external_files

        parts = external_files(path)
        if not parts:
            return file_digest(path)
        files, root = [path, *parts], path.parent
    else:
        files = [file for file in path.rglob("*") if file.is_file() and file != path / NAME]
        root = path
    lines = sorted(f"{file.relative_to(root)} {file_digest(file)}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _samples(declared: Declaration, *, any_kind: bool) -> tuple[ParitySample, ...]:
    """The first images of each label by name, as many of each."""
    per_label = max(1, min(PER_LABEL, AT_MOST // len(declared.labels)))
    chosen: list[ParitySample] = []
    for label in declared.labels:
        folder = declared.samples / label
        if "/" in label or label in (".", ".."):  # it would be another folder
            continue
        found = folder.glob("[!.]*") if any_kind else (f for f in folder.glob("*") if f.suffix.lower() in SUFFIXES)
        files = sorted(file for file in found if file.is_file())
        chosen += [ParitySample(path=file, label=label, sha256=file_digest(file)) for file in files[:per_label]]
    if not chosen:
        named = ", ".join(declared.labels[:5])
        message = f"{declared.samples} has no images in subfolders named after the labels ({named})"
        raise ConfigError([Fault(origin=NAME, path="samples", message=message)])
    return tuple(chosen[:: -(-len(chosen) // AT_MOST)])
