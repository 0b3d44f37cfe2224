"""The files of a dataset's folder and the classes that their folders give them.

A folder has a folder per class. Exactly two folders `train` and `val`, each with such folders, declare a split. The
folder `audit` beside them is no class: it has photos that a camera chose by chance, which judge models and are never
trained on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from eaves.errors import DatasetError
from eaves.media_type import SUFFIXES, UNSUPPORTED_SUFFIXES

Split = Literal["train", "val", "audit"]
DECLARED: tuple[Split, ...] = ("val", "train")
"""Folders that declare a split, the held-out side first."""
AUDIT: Split = "audit"
"""Folder of the photos that only judge; `labels.csv` alone gives them labels."""


def is_audit(file: str) -> bool:
    """Return whether a file, by its path below the dataset's folder, is in the folder `audit`."""
    return file.startswith(f"{AUDIT}/")


class FolderFile(NamedTuple):
    """A file of a dataset's folder.

    Attributes:
        file: Path below the folder, with `/`.
        label: Name of its class's folder; empty for an image beside the folders of the classes.
        split: Side of the split that the folders declare, if any; train for an image beside both. `audit` for an image
            in that folder.
    """

    file: str
    label: str
    split: Split | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderContent:
    """The files of a dataset's folder.

    Attributes:
        classes: Names of the folders of classes, sorted; in a declared split those of `train`.
        declared: Whether the folders declare a split.
        files: The files of all classes, then the images beside their folders, then those of `audit`.
    """

    classes: tuple[str, ...] = ()
    declared: bool = False
    files: tuple[FolderFile, ...] = ()


def list_folder(root: Path) -> FolderContent:
    """List a dataset's folder; hidden files and folders are left out.

    Raises:
        DatasetError: A folder can't be read, or there are folders beside `train` and `val`.
    """
    folders, loose = _list(root)
    audit = [FolderFile(f"{AUDIT}/{name}", "", AUDIT) for name in _list(root / AUDIT)[1]] if AUDIT in folders else []
    folders = [name for name in folders if name != AUDIT]
    files, beside, classes = list[FolderFile](), [FolderFile(name, "", None) for name in loose], folders
    inside = {side: _list(root / side) for side in DECLARED} if set(DECLARED) <= set(folders) else {}
    declared = any(below for below, _ in inside.values())
    if declared and len(folders) > len(DECLARED):
        others = ", ".join(name for name in folders if name not in DECLARED)
        message = f"{root} holds train and val, each a folder per class, beside {others}"
        raise DatasetError(message, hint="leave only train and val, or only one folder per class")
    if declared:
        classes, beside = inside["train"][0], [FolderFile(name, "", "train") for name in loose]
        for side, (labels, images) in inside.items():
            files += (FolderFile(file, name, side) for name in labels for file in _walk(root, f"{side}/{name}"))
            beside += (FolderFile(f"{side}/{name}", "", side) for name in images)
    else:
        files += (FolderFile(file, name, None) for name in folders for file in _walk(root, name))
    return FolderContent(classes=tuple(classes), declared=declared, files=(*files, *beside, *audit))


def _list(path: Path) -> tuple[list[str], list[str]]:
    """Return the names of the folders in a folder, and those of its images."""
    try:
        with os.scandir(path) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        hint = "name a folder with one subfolder of images per class, a manifest (.csv) or an archive"
        raise DatasetError(f"can't read the folder {path}: {error.strerror}", hint=hint) from error
    suffixes = (*SUFFIXES, *UNSUPPORTED_SUFFIXES)
    images = [entry.name for entry in found if entry.name.lower().endswith(suffixes) and entry.is_file()]
    return sorted(entry.name for entry in found if entry.is_dir()), sorted(images)


def _walk(root: Path, folder: str) -> Iterator[str]:
    for where, folders, names in os.walk(root / folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        above = where.removeprefix(f"{root}/")
        yield from (f"{above}/{name}" for name in sorted(names) if not name.startswith("."))
