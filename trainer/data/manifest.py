"""Lists the images of a CSV manifest, which has one row per image: path, label and an optional split.

Paths are relative to the manifest and stay below its folder, so that a manifest means the same on every machine and a
foreign manifest can't name other files of this machine.

Source: RFC 4180.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, cast

from eaves.errors import DatasetError
from trainer.data.listing import DECLARED, DataFault, ListedImage, Listing, Split, leaves_root, suffix_fault

SUFFIXES = (".csv",)
COLUMNS = ("path", "label", "split")
_SHOWN = 5


def load_manifest(file: Path) -> Listing:
    """List the images that a manifest names; missing files become faults.

    Raises:
        DatasetError: The manifest can't be read or has invalid rows; the message names the first few.
    """
    rows = parse_manifest(file)
    entries, faults = list[ListedImage](), list[DataFault]()
    for name, (line, image) in sorted(rows.items(), key=lambda row: row[1][1].split != "val"):
        fault = suffix_fault(name)
        if not fault and not is_file(image.path):
            fault = DataFault(file=name, reason=f"line {line} of {file.name} names the file, but it does not exist")
        if fault:
            faults.append(fault)
        else:
            entries.append(image)
    images = [image for _, image in rows.values()]
    declared = any(image.split for image in images)
    labels = tuple(sorted({image.label for image in images if not declared or image.split == "train"}))
    return Listing(root=file.parent, labels=labels, entries=tuple(entries), faults=tuple(faults), declared=declared)


def is_file(path: Path) -> bool:
    """Return whether `path` is an existing file; False also for a name that the file system does not allow."""
    try:
        return path.is_file()
    except OSError:
        return False


def parse_manifest(file: Path) -> dict[str, tuple[int, ListedImage]]:
    """Parse a manifest: path of each image below the manifest's folder, to its line and the image.

    Raises:
        DatasetError: The manifest can't be read or has invalid rows; the message names the first few.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"{file.name} is not UTF-8 (byte {error.start})"
        raise DatasetError(message, hint=f"iconv -f latin1 -t utf-8 {file.name}") from error
    except OSError as error:
        raise DatasetError(f"can't read the manifest {file}: {error.strerror}") from error
    rows: dict[str, tuple[int, ListedImage]] = {}
    wrong: list[str] = []
    for line, values in _csv(file.name, text):
        path, label, split = ((values.get(name) or "").strip() for name in COLUMNS)
        if fault := _find_fault(path, label, split):
            wrong.append(f"line {line}: {fault}")
            continue
        below = PurePosixPath(path)
        image = ListedImage(
            path=file.parent / path,
            label=label,
            below=below,
            split=cast(Split, split) or None,
            columns={
                name: value.strip() for name, value in values.items() if name not in COLUMNS and isinstance(value, str)
            },
        )
        before, known = rows.setdefault(below.as_posix(), (line, image))
        if (known.label, known.split) != (image.label, image.split):
            wrong.append(f"line {line}: {path} has another label or split in line {before}")
    missing = [line for line, image in rows.values() if image.split is None]
    if missing and len(missing) < len(rows):
        wrong.append(f"line {missing[0]} has no split, but other lines have one")
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise DatasetError(
            f"{file.name}: {'; '.join(wrong[:_SHOWN])}{more}", hint="correct these lines of the manifest"
        )
    return rows


def _csv(name: str, text: str) -> Iterator[tuple[int, Any]]:
    reader = csv.DictReader(text.splitlines(keepends=True), strict=True, skipinitialspace=True)
    try:
        missing = [column for column in COLUMNS[:2] if column not in (reader.fieldnames or ())]
        if missing:
            first = ", ".join(reader.fieldnames or ())[:80]
            message = f"{name} has no column {' or '.join(missing)}; its first line is: {first or 'empty'}"
            raise DatasetError(message, hint="make the first line of the file: path,label or path,label,split")
        for values in reader:
            yield reader.line_num, values
    except csv.Error as error:
        raise DatasetError(f"{name}: line {reader.line_num} is not valid CSV: {error}") from error


def _find_fault(path: str, label: str, split: str) -> str:
    """Return what is wrong with a row; empty if nothing is."""
    if not path:
        return "no path"
    if leaves_root(path):
        return f"the path {path[:80]!r} is not below the manifest's folder"
    if not label:
        return f"{path[:80]} has no label"
    return f"split must be train or val (got {split[:40]!r})" if split and split not in DECLARED else ""
