"""Loads `model.yaml`, the declaration of a foreign model, and describes the model's input and outputs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

from eaves.artifact.manifest import CLASSIFY, EMBED, TENSOR
from eaves.config import SettingsLayer, build, setting
from eaves.config.yaml_text import load_yaml
from eaves.errors import ConfigError, ConversionError, Fault
from eaves.recipe import Recipe


@dataclass(frozen=True, kw_only=True)  # no slots, as a declaration has two bases
class Interface:
    """Input and outputs of a model; the defaults are those of a run, which needs no adaptation."""

    multiply: tuple[float, ...] = setting(
        (1.0,),
        "Factor that pixels 0 to 255 are multiplied by: one number, or one for each channel in the "
        "model's channel order.",
    )
    add: tuple[float, ...] = setting(
        (0.0,), "Offset that is added after multiplying: one number, or one for each channel."
    )
    layout: str = setting(
        "NHWC", "Order of the axes of the model's input; PyTorch models use NCHW.", choices=("NHWC", "NCHW")
    )
    channels: str = setting(
        "RGB", "Order of the channels in the model's input; Caffe models use BGR.", choices=("RGB", "BGR")
    )
    input: str = setting("", "Name of the model's input; empty: the only input.")
    logits: str = setting("", "Name of the output that holds logits.")
    probabilities: str = setting("", "Name of the output that holds probabilities.")
    features: str = setting("", "Name of the output that holds features, for the task `embed`.")

    @property
    def scales(self) -> bool:
        """Whether pixel values are scaled (multiplied or shifted) between the recipe's tensor and the model's input."""
        return set(self.multiply) != {1.0} or set(self.add) != {0.0}

    def pick_input(self, names: Collection[str]) -> str:
        """Return the name of the model's input.

        Raises:
            ConversionError: The input doesn't exist, or isn't the only one.
        """
        found = ", ".join(sorted(names)) or "none"
        if len(names) != 1:
            raise ConversionError(f"the model must have one input, the images; it has {found}")
        if self.input not in {"", *names}:
            raise ConversionError(
                f"the model has no input {self.input}; it has {found}", hint="correct `input` in the declaration"
            )
        return next(iter(names))

    def pick_outputs(self, names: Collection[str]) -> tuple[str | None, str | None]:
        """Return the names of the outputs with logits and probabilities; one of them may be None.

        Raises:
            ConversionError: A declared output doesn't exist, or the content of the outputs isn't declared.
        """
        found = ", ".join(sorted(names)) or "none"
        missing = [name for name in (self.logits, self.probabilities, self.features) if name and name not in names]
        if missing:
            raise ConversionError(
                f"the model has no output {missing[0]}; it has {found}",
                hint="correct `logits`, `probabilities` or `features` in the declaration",
            )
        if self.logits or self.probabilities:
            return self.logits or None, self.probabilities or None
        ours = [name if name in names else None for name in ("logits", "probabilities")]
        if any(ours):
            return ours[0], ours[1]
        raise ConversionError(
            "the declaration does not name the output that holds logits or probabilities; the model's outputs "
            f"are {found}",
            hint="declare `logits: NAME` or `probabilities: NAME`",
        )


def check_input(shape: Sequence[int | None] | None, interface: Interface, height: int, width: int) -> None:
    """Check that images of the declared size fit the shape of a model's input; None in a shape means any size.

    Raises:
        ConversionError: Images of the recipe don't fit.
    """
    sizes = (3, height, width) if interface.layout == "NCHW" else (height, width, 3)
    fits = shape is None or (
        len(shape) == 4 and all(own in {None, size} for own, size in zip(shape[1:], sizes, strict=True))
    )
    if not fits:
        own = ", ".join("?" if size is None else str(size) for size in shape or ())
        wanted = ", ".join(map(str, sizes))
        raise ConversionError(
            f"the model's input has the shape ({own}), but the declaration says (batch, {wanted}) with the layout "
            f"{interface.layout}",
            hint="correct `height`, `width` or `layout` in the declaration",
        )


NAME = "model.yaml"


@dataclass(frozen=True, kw_only=True)
class AnyDeclaration:
    """What is declared of a model of any task."""

    name: str = setting(MISSING, "Name of the model: lower-case letters, digits and dashes.")
    version: str = setting("", "Version of the model; empty: `0-` and the first 8 digits of the model's digest.")
    licence: str = setting("", "Licence of the model, an SPDX identifier.")

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield faults between several fields: (setting, what is wrong)."""
        if not re.fullmatch(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", self.name):
            yield (
                "name",
                f"must be at most 40 lower-case letters, digits, dashes; a letter first (got {self.name!r})",
            )
        if self.version and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", self.version):
            yield "version", f"must be at most 64 letters, digits, `_`, `.` and `-` (got {self.version!r})"


@dataclass(frozen=True, kw_only=True)
class Declaration(AnyDeclaration, Interface):
    """Declaration of an image model, in a file beside the model or named by `--declare`."""

    task: str = setting(
        CLASSIFY, "Task of the artifact; the task `tensor` has settings of its own.", choices=(CLASSIFY, EMBED)
    )
    labels: tuple[str, ...] = setting(
        MISSING,
        "Class names in the order of the outputs, or the name of a file with one class per line, "
        "relative to the declaration.",
    )
    height: int = setting(MISSING, "Height of the model's input, pixels.", minimum=1, maximum=4096)
    width: int = setting(MISSING, "Width of the model's input, pixels.", minimum=1, maximum=4096)
    resize: str = setting(
        "stretch",
        "How an image is brought to this size: both sides stretched, the centre cropped, or the rest padded with grey.",
        choices=("stretch", "crop", "pad"),
    )
    filter: str = setting(
        "bilinear", "Filter for resampling, which is antialiased.", choices=("bilinear", "bicubic", "lanczos")
    )
    signature: str = setting("serving_default", "Name of the signature to convert, in a SavedModel.")
    samples: Path = setting(
        MISSING,
        "Folder with one subfolder of images per label, relative to the declaration; the converted "
        "model must give the same answers as the original on them.",
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield faults between several fields: (setting, what is wrong)."""
        yield from AnyDeclaration.faults(self)
        if not self.labels:
            yield "labels", "must be two or more (got 0)"
        for path, values in (("multiply", self.multiply), ("add", self.add)):
            if len(values) not in {1, 3}:
                yield path, f"must be one number, or one for each of three channels (got {len(values)})"
        if self.task == EMBED and not self.features:
            yield "features", "must name an output if the task is embed"
        if 0 in self.multiply:
            yield "multiply", "must not be 0"

    @property
    def recipe(self) -> Recipe:
        """Recipe of the model. Its scale is the declared one, or 1 and 0 if the declared one differs by channel."""
        one = len(self.multiply) == len(self.add) == 1
        return Recipe(
            height=self.height,
            width=self.width,
            resize=self.resize,  # type: ignore[arg-type]
            filter=self.filter,  # type: ignore[arg-type]
            multiply=self.multiply[0] if one else 1.0,
            add=self.add[0] if one else 0.0,
        )

    @property
    def interface(self) -> Interface:
        """Input and outputs of the model."""
        own = {item.name: getattr(self, item.name) for item in fields(Interface)}
        return Interface(**own if self.task == EMBED else own | {"features": ""})


@dataclass(frozen=True, kw_only=True)
class TensorDeclaration(AnyDeclaration):
    """Declaration of an ONNX file that doesn't take images; the file states its input and outputs."""

    task: str = setting(TENSOR, "Task of the artifact.", choices=(TENSOR,))
    labels: tuple[str, ...] = setting(
        (),
        "Names of the numbers of the one output that has this many numbers, or the name of a file with one "
        "name per line; empty: no labels.",
    )
    samples: Path = setting(
        MISSING,
        "Folder of .json files, one example each, relative to the declaration; the converted model must "
        "give the same answers as the original on them.",
    )


def declaration_error(origin: str, name: str, message: str) -> ConfigError:
    """Return the error about one setting of a declaration, or about the whole file if `name` is empty."""
    return ConfigError.single(origin, name, message)


def load_declaration(path: Path) -> Declaration | TensorDeclaration:
    """Load a declaration; labels in a file are replaced by their names, and the samples' folder by a complete path.

    Raises:
        ConfigError: The declaration has faults; the error lists all of them.
    """
    try:
        values: Any = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise declaration_error(str(path), "", f"the declaration can't be read: {error}") from error
    if not isinstance(values, dict):
        raise declaration_error(str(path), "", "must be a mapping of settings")
    for key in ("multiply", "add"):
        if isinstance(values.get(key), int | float):
            values[key] = [values[key]]
    layer, faults = SettingsLayer(origin=path.name, values=values), dict[str, str]()
    declared = build(TensorDeclaration, layer) if values.get("task") == TENSOR else build(Declaration, layer)
    labels = _load_labels(declared.labels, path, faults) if declared.labels else ()
    samples = path.parent / declared.samples
    if not samples.is_dir():
        faults["samples"] = f"must be an existing folder (got {str(samples)!r})"
    if faults:
        raise ConfigError([Fault(origin=path.name, path=name, message=message) for name, message in faults.items()])
    return replace(declared, labels=labels, samples=samples)


def _load_labels(labels: tuple[str, ...], path: Path, faults: dict[str, str]) -> tuple[str, ...]:
    if len(labels) == 1:
        try:
            text = (path.parent / labels[0]).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            faults["labels"] = f"the file of class names can't be read: {error}"
            return labels
        labels = tuple(line.strip() for line in text.splitlines() if line.strip())
    double = sorted({label for label in labels if labels.count(label) > 1})
    if len(labels) < 2:
        faults["labels"] = f"must be two or more (got {len(labels)})"
    if double:
        faults["labels"] = f"must be different names (repeated: {', '.join(double[:5])})"
    return labels
