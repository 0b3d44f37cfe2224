"""Lists the images of a CSV manifest, which has one row per image: path, label and an optional split.

Paths are relative to the manifest and stay below its folder, so that a manifest means the same on every machine and a
foreign manifest can't name other files of this machine.

Source: RFC 4180.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, cast

from eaves.errors import DatasetError
from trainer.data.listing import DECLARED, DataFault, ListedImage, Listing, Split, leaves_root, suffix_fault

SUFFIXES = (".csv",)
COLUMNS = ("path", "label", "split")
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of a manifest."""

    line: int
    path: str
    label: str
    split: Split | None
    columns: Mapping[str, str] = field(default_factory=dict)


def load_manifest(file: Path) -> Listing:
    """List the images that a manifest names; missing files become faults.

    Raises:
        DatasetError: The manifest can't be read or has invalid rows; the message names the first few.
    """
    rows = _unique(file, parse_manifest(file))
    entries, faults = list[ListedImage](), list[DataFault]()
    for row in sorted(rows, key=lambda row: row.split != "val"):
        path = file.parent / row.path
        fault = suffix_fault(row.path)
        if not fault and not is_file(path):
            fault = DataFault(
                file=row.path, reason=f"line {row.line} of {file.name} names the file, but it does not exist"
            )
        if fault:
            faults.append(fault)
        else:
            below = PurePosixPath(row.path)
            entries.append(ListedImage(path=path, label=row.label, below=below, split=row.split, columns=row.columns))
    declared = any(row.split for row in rows)
    labels = tuple(sorted({row.label for row in rows if not declared or row.split == "train"}))
    return Listing(root=file.parent, labels=labels, entries=tuple(entries), faults=tuple(faults), declared=declared)


def is_file(path: Path) -> bool:
    """Return whether `path` is an existing file; False also for a name that the file system does not allow."""
    try:
        return path.is_file()
    except OSError:
        return False


def parse_manifest(file: Path) -> list[Row]:
    """Parse the rows of a manifest.

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
    rows: list[Row] = []
    wrong: list[str] = []
    for line, values in _csv(file.name, text):
        row = _parse_row(line, values)
        if isinstance(row, str):
            wrong.append(f"line {line}: {row}")
        else:
            rows.append(row)
    if len({row.split is None for row in rows}) > 1:
        wrong.append(
            f"line {next(row.line for row in rows if row.split is None)} has no split, but other lines have one"
        )
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


def _parse_row(line: int, values: dict[str, Any]) -> Row | str:
    """Return a row, or what is wrong with it."""
    path, label, split = ((values.get(name) or "").strip() for name in COLUMNS)
    if not path:
        return "no path"
    if leaves_root(path):
        return f"the path {path[:80]!r} is not below the manifest's folder"
    if not label:
        return f"{path[:80]} has no label"
    if split and split not in DECLARED:
        return f"split must be train or val (got {split[:40]!r})"
    columns = {name: value.strip() for name, value in values.items() if name not in COLUMNS and isinstance(value, str)}
    return Row(
        line=line, path=PurePosixPath(path).as_posix(), label=label, split=cast(Split, split) or None, columns=columns
    )


def _unique(file: Path, rows: list[Row]) -> list[Row]:
    """Return the rows without repeated paths; refuse a path with two labels or sides."""
    first: dict[str, Row] = {}
    for row in rows:
        known = first.setdefault(row.path, row)
        if (known.label, known.split) != (row.label, row.split):
            named = [" ".join(filter(None, (item.label, item.split))) for item in (known, row)]
            message = f"{file.name}: {row.path} is {named[0]} in line {known.line} and {named[1]} in line {row.line}"
            raise DatasetError(message, hint="remove one of the two lines")
    return list(first.values())
