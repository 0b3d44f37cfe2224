"""A folder per class > labelled examples, split into training and validation.

The split is by content: sha256 of the file decides, so an image stays on its side when others come and go, when it is
renamed, and on every machine. A folder that holds exactly `train` and `val` is a split already and is taken as such.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from eaves.errors import DatasetError
from eaves.media import SUFFIXES
from trainer.progress import Progress, Silent

Split = Literal["train", "val"]
DECLARED = ("train", "val")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One labelled image.

    Attributes:
        path: The file.
        label: Index into the dataset's labels.
        digest: sha256 of its bytes, hex.
        split: Trained on (`train`) or held out (`val`).
    """

    path: Path
    label: int
    digest: str
    split: Split


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFault:
    """A file that is not trained on, and why."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Labelled, split examples.

    Attributes:
        root: The folder they are in.
        labels: Class names, sorted; an example's label is an index into them.
        examples: In order of class and path.
        faults: Files left out.
        declared: Whether the split is the folder's own.
    """

    root: Path
    labels: tuple[str, ...]
    examples: tuple[Example, ...]
    faults: tuple[DataFault, ...]
    declared: bool

    def counts(self, split: Split) -> dict[str, int]:
        """Class name to number of examples on one side."""
        count = Counter(example.label for example in self.examples if example.split == split)
        return {name: count[index] for index, name in enumerate(self.labels)}

    def digest(self) -> str:
        """sha256 of what is trained on: contents, labels and sides, but no file names. Hex."""
        lines = sorted(f"{item.digest} {item.split} {self.labels[item.label]}\n" for item in self.examples)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def without(self, faults: Collection[DataFault]) -> Dataset:
        """The dataset with more files found faulty and left out.

        Raises:
            DatasetError: When a class or the validation side has nothing left.
        """
        gone = {fault.file for fault in faults}
        kept = tuple(item for item in self.examples if str(item.path.relative_to(self.root)) not in gone)
        left = replace(self, examples=kept, faults=(*self.faults, *faults))
        _check_sides(left)
        return left


def scan(path: Path, *, val_fraction: float, seed: int = 0, progress: Progress | None = None) -> Dataset:
    """Find, hash, check and split the images under `path`.

    Args:
        path: A folder per class, or `train` and `val`, each a folder per class.
        val_fraction: Share held out when the folder declares no split.
        seed: Another seed, another split.
        progress: Told about every file read.

    Raises:
        DatasetError: No images, fewer than two classes, an empty class, one image in two classes, nothing to validate
            on.
    """
    declared = _is_declared(path)
    found, faults = _find(path, declared)
    labels = _labels(path, found, declared)
    examples: dict[str, Example] = {}
    with (progress or Silent()).phase("Hashing images", len(found)) as step:
        for side, name, file in found:
            step()
            relative = str(file.relative_to(path))
            try:
                digest = hashlib.sha256(file.read_bytes()).hexdigest()
            except OSError as error:
                faults.append(DataFault(file=relative, reason=f"can't be read: {error.strerror}"))
                continue
            split = side or side_of(digest, val_fraction, seed)
            example = Example(path=file, label=labels.index(name), digest=digest, split=split)
            known = examples.setdefault(digest, example)
            if known is not example:
                faults.append(_duplicate(path, labels, known, example))
    ordered = tuple(sorted(examples.values(), key=lambda item: (item.label, str(item.path))))
    dataset = Dataset(root=path, labels=labels, examples=ordered, faults=tuple(faults), declared=declared)
    _check_sides(dataset)
    return dataset


def side_of(digest: str, val_fraction: float, seed: int) -> Split:
    """The side an image is on, from its content alone.

    Args:
        digest: sha256 of its bytes, hex.
        val_fraction: Share held out.
        seed: Another seed, another split.
    """
    number = int.from_bytes(hashlib.sha256(f"{seed}:{digest}".encode()).digest()[:8], "big")
    return "val" if number / 2**64 < val_fraction else "train"


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        hint = "name a folder with one subfolder of images per class"
        raise DatasetError(f"can't read the folder {path}: {error.strerror}", hint=hint) from error


def _is_declared(path: Path) -> bool:
    names = [folder.name for folder in _folders(path)]
    if not set(DECLARED) <= set(names) or not any(_folders(path / name) for name in DECLARED):
        return False
    others = [name for name in names if name not in DECLARED]
    if others:
        message = f"{path} holds train and val, each a folder per class, beside {', '.join(others)}"
        raise DatasetError(message, hint="leave only train and val, or only one folder per class")
    return True


def _find(path: Path, declared: bool) -> tuple[list[tuple[Split | None, str, Path]], list[DataFault]]:
    """(declared side, class, file) of every image; validation first, so that of a copy on both sides that one stays."""
    sides: list[tuple[Split | None, Path]] = (
        [("val", path / "val"), ("train", path / "train")] if declared else [(None, path)]
    )
    found: list[tuple[Split | None, str, Path]] = []
    faults = []
    for side, folder in sides:
        for kind in _folders(folder):
            for file in _files(kind):
                if file.suffix.lower() in SUFFIXES:
                    found.append((side, kind.name, file))
                else:
                    reason = f"its name does not end in {', '.join(SUFFIXES)}"
                    faults.append(DataFault(file=str(file.relative_to(path)), reason=reason))
    return found, faults


def _files(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(where, name) for name in sorted(names) if not name.startswith("."))


def _labels(path: Path, found: Collection[tuple[Split | None, str, Path]], declared: bool) -> tuple[str, ...]:
    if not found:
        raise DatasetError(
            f"no images under {path}", hint=f"put {'/'.join(SUFFIXES)} files into one subfolder per class"
        )
    labels = tuple(folder.name for folder in _folders(path / "train" if declared else path))
    if len(labels) < 2:
        raise DatasetError(f"only one class under {path}: {', '.join(labels)}", hint="add a second subfolder of images")
    strangers = {name for _, name, _ in found} - set(labels)
    unfit = [name for name in labels if not name.isprintable()]
    if unfit:
        raise DatasetError(f"not the name of a class: {unfit[0]!r}", hint="rename the folder, with printable letters")
    if strangers:
        raise DatasetError(
            f"classes in val that are not in train: {', '.join(sorted(strangers))}",
            hint=f"add them to {path / 'train'}",
        )
    for name in labels:
        if not any(kind == name for _, kind, _ in found):
            raise DatasetError(f"the class {name} has no images", hint=f"add some to it, or remove the folder {name}")
    return labels


def _duplicate(path: Path, labels: tuple[str, ...], known: Example, example: Example) -> DataFault:
    first, second = known.path.relative_to(path), example.path.relative_to(path)
    if known.label != example.label:
        raise DatasetError(
            f"the same image is in two classes: {first} and {second}",
            hint=f"remove it from {labels[known.label]} or from {labels[example.label]}",
        )
    return DataFault(file=str(second), reason=f"same bytes as {first}")


def _check_sides(dataset: Dataset) -> None:
    for name, count in dataset.counts("train").items():
        if not count:
            raise DatasetError(f"the class {name} has no images left to train on", hint=f"add images to {name}")
    if not any(dataset.counts("val").values()):
        hint = "add images to val" if dataset.declared else "add images, or hold out a larger fraction of them"
        raise DatasetError("no images are left to validate on", hint=hint)
