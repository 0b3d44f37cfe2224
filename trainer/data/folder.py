"""Lists the images of a dataset that has a folder per class; exactly two folders `train` and `val` declare a split."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from eaves.errors import DatasetError
from eaves.media_type import SUFFIXES, UNSUPPORTED_SUFFIXES
from trainer.data.listing import DECLARED, LOOSE, DataFault, ListedImage, Listing, Split, suffix_fault


def load_folder(path: Path) -> Listing:
    """List the images under `path`.

    Args:
        path: A folder with one subfolder per class, or a folder with such folders `train` and `val`.

    Raises:
        DatasetError: A folder can't be read, or there are classes beside `train` and `val`.
    """
    declared = _is_declared(path)
    sides: list[tuple[Split | None, Path]] = (
        [("val", path / "val"), ("train", path / "train")] if declared else [(None, path)]
    )
    entries: list[ListedImage] = []
    faults: list[DataFault] = []
    for side, folder in sides:
        for kind in _folders(folder):
            for file in _files(kind):
                fault = suffix_fault(file.relative_to(path).as_posix())
                if fault:
                    faults.append(fault)
                else:
                    below = PurePosixPath(file.relative_to(kind).as_posix())
                    entries.append(ListedImage(path=file, label=kind.name, below=below, split=side))
    for folder in dict.fromkeys((path, *(folder for _, folder in sides))):
        faults.extend(DataFault(file=name.relative_to(path).as_posix(), reason=LOOSE) for name in _loose_files(folder))
    labels = tuple(folder.name for folder in _folders(path / "train" if declared else path))
    return Listing(root=path, labels=labels, entries=tuple(entries), faults=tuple(faults), declared=declared)


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        hint = "name a folder with one subfolder of images per class, a manifest (.csv) or an archive"
        raise DatasetError(f"can't read the folder {path}: {error.strerror}", hint=hint) from error


def _loose_files(folder: Path) -> Iterator[Path]:
    """Yield images that lie directly in a folder where only the folders of classes should be."""
    for entry in sorted(folder.iterdir()):
        is_image = entry.name.lower().endswith((*SUFFIXES, *UNSUPPORTED_SUFFIXES)) and not entry.name.startswith(".")
        if is_image and entry.is_file():
            yield entry


def _is_declared(path: Path) -> bool:
    names = [folder.name for folder in _folders(path)]
    if not set(DECLARED) <= set(names) or not any(_folders(path / name) for name in DECLARED):
        return False
    others = [name for name in names if name not in DECLARED]
    if others:
        message = f"{path} holds train and val, each a folder per class, beside {', '.join(others)}"
        raise DatasetError(message, hint="leave only train and val, or only one folder per class")
    return True


def _files(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(where, name) for name in sorted(names) if not name.startswith("."))
