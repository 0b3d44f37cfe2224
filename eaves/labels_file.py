"""The file `labels.csv` of a folder of photos: what people have said, one line each, in the order in which it was said.

Lines are only appended. The lines of one action are on the disk before the call returns, and they count together or not
at all: all but their first byte are written and synced, then the first byte. What begins with NUL is an action that a
killed process or a full disk left unfinished; readers ignore it, and the next writer cuts it off. Writers exclude each
other by a lock of the file itself, and read what others have appended before they decide.

The file may also come from a spreadsheet: with a byte order mark, CRLF, fewer, further or reordered columns, and
without a final line end. The first writer then completes the columns, and keeps every line.

Source: RFC 4180 (CSV).
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eaves.base.disk_errors import disk_errors
from eaves.base.files import Stamp, find_stamp, sync, write_atomically
from eaves.base.locks import take_lock
from eaves.errors import DatasetError

COLUMNS = ("file", "label", "group", "who", "when", "undoes")
_MODE = 0o666
"""Permissions of a new file, as the umask allows: it is a file of the dataset, like its photos."""
_WHEN = re.compile(rb",([0-9T:.-]{26}Z),[0-9T:.Z-]*\n")
"""Time of an action and what it undoes, at the end of a line that Eaves has written."""
_SPECIAL = re.compile('[",\r\n]')
_UNKNOWN: Stamp = (-1, -1, -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What a person has said of a photo: one line of the file.

    Attributes:
        file: Path of the photo below the folder, with `/`; empty in a line that only names a class.
        label: Name of a class, `not usable`, or empty: the label is taken back.
        group: Name of the group of photos that stay on one side of the split; empty when the photo is in none.
        who: Name of the person; empty for the label that a folder gives.
        when: Time in UTC with microseconds; lines of one action have the same, and no other action has it.
        undoes: `when` of the action that this line takes back; empty in other lines.
    """

    file: str
    label: str
    group: str = ""
    who: str = ""
    when: str = ""
    undoes: str = ""


Rows = list[tuple[int, dict[str, str]]]
"""Rows of a CSV text: the last line of each, counted from 1, and its values by column."""


def parse_rows(text: str, columns: Sequence[str] = (), *, line: int = 0) -> tuple[Sequence[str], Rows]:
    """Parse a CSV text with the columns `file` (or `path`) and `label`; return its columns in lower case and its rows.

    Args:
        text: The text.
        columns: Names of the columns; empty: the text's first row has them.
        line: Number of lines before the text.

    Raises:
        ValueError: The text is not such a CSV text; the message names the line.
    """
    reader = open_csv(text)
    try:
        columns = columns or _parse_header(next(reader, []))
        found = [(line + reader.line_num, dict(zip(columns, row, strict=False))) for row in reader if any(row)]
    except csv.Error as error:
        raise ValueError(f"line {line + reader.line_num} is not valid CSV: {error}") from error
    for _, row in found:
        row |= {name: value.strip() for name, value in row.items() if name != "file"}
        row.setdefault("file", "")
    return columns, found


def _parse_header(row: Sequence[str]) -> Sequence[str]:
    names = [name.strip().lower() for name in row]
    if "path" in names and "file" not in names:
        names[names.index("path")] = "file"
    if not {"file", "label"} <= set(names):
        mend = "; save it with commas instead of semicolons" if ";" in "".join(row) else ""
        raise ValueError(f"line 1 must name the columns file and label, but is {','.join(row)[:80]!r}{mend}")
    return names


def open_csv(text: str) -> Any:
    """Return the reader of a CSV text, which may begin with a byte order mark."""
    return csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)


def render_csv(rows: Iterable[Iterable[str]]) -> str:
    """Return rows as CSV; `csv.writer` leaves a carriage return in a file's name unquoted, which ends the row."""
    return "".join(",".join(map(_quote, row)) + "\n" for row in rows)


def _quote(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if _SPECIAL.search(text) else text


class LabelsFile:
    """The labels of one folder; not for several threads at once.

    Args:
        path: Path of the file, which need not exist.
        apply: Receives the lines that are new since its last call, and whether the lines of earlier calls no longer
            count, since a person has edited the file.
    """

    def __init__(self, path: Path, apply: Callable[[list[Label], bool], None]) -> None:
        self.path = path
        self._apply = apply
        self._stamp: Stamp | None = None
        self._data = b""
        self._columns: Sequence[str] = COLUMNS
        self._handle = -1
        """Descriptor of the file while it is locked."""

    def read(self) -> None:
        """Pass what has changed since the last call to `apply`.

        Raises:
            DatasetError: The file isn't a labels file; the message names the line.
            StorageError: The file can't be read.
        """
        stamp = find_stamp(self.path)
        if stamp == self._stamp:
            return
        with disk_errors(self.path):
            whole = self.path.read_bytes() if stamp else b""
        data = self._cut_unfinished(whole)
        is_longer = self._data.endswith(b"\n") and data.startswith(self._data)
        start = len(self._data) if is_longer else 0
        try:
            text, line = data[start:].decode(), data.count(b"\n", 0, start)
            columns, rows = parse_rows(text, self._columns if start else (), line=line) if data else (COLUMNS, [])
        except ValueError as error:
            hint = "save it as CSV in UTF-8 with commas, or rename the file if it holds no labels"
            raise DatasetError(f"{self.path}: {error}", hint=hint) from error
        self._data, self._columns = data, columns
        # The first byte of an unfinished action changes neither the size nor, within a clock tick, the time.
        self._stamp = stamp if len(data) == len(whole) else _UNKNOWN
        self._apply([Label(**{name: row.get(name, "") for name in COLUMNS}) for _, row in rows], not is_longer)

    def _cut_unfinished(self, data: bytes) -> bytes:
        """Return the content without an unfinished action at its end."""
        end = data.find(b"\0")
        if end < 0:
            return data
        begins_line = end == 0 or data[end - 1 : end] == b"\n"
        if not begins_line or len(set(_WHEN.findall(data, end))) > 1:
            line = data.count(b"\n", 0, end) + 1
            hint = "restore the file from a copy, or remove these bytes"
            raise DatasetError(f"{self.path} is damaged: it has NUL bytes in line {line}", hint=hint)
        return data[:end]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other writers out while the block runs; wait for them first, and read what they have written.

        Raises:
            DatasetError: The file isn't a labels file.
            StorageError: The file can't be created, read or written.
        """
        while True:
            with disk_errors(self.path):
                handle = take_lock(self.path, wait=True, mode=_MODE)
            if handle is None:
                continue
            self._handle = handle
            try:
                self.read()
                if not self._data or (self._data.endswith(b"\n") and set(COLUMNS) <= set(self._columns)):
                    yield
                    return
                self._complete()  # puts another file in its place, whose lock is another one
            finally:
                os.close(handle)

    def _complete(self) -> None:
        """Replace the file by one that has all columns and a final line end."""
        header, *rows = open_csv(self._data.decode())
        further = [name for name in COLUMNS if name not in self._columns]
        content = render_csv([header + further, *(row[: len(header)] for row in rows)])
        with disk_errors(self.path):
            write_atomically(self.path, content, mode=self.path.stat().st_mode & 0o777)

    def append(self, lines: Sequence[Label]) -> None:
        """Write the lines of one action to the disk, all or none, in `locked`.

        Raises:
            StorageError: The disk is full or can't be written; no line counts.
        """
        start, handle = len(self._data), self._handle
        rows = [[getattr(line, name) if name in COLUMNS else "" for name in self._columns] for line in lines]
        block = render_csv(rows if start else [COLUMNS, *rows]).encode()
        with disk_errors(self.path):
            try:
                os.ftruncate(handle, start)
                _write(handle, block[1:], start + 1)
                os.fsync(handle)
                if not start:
                    sync(self.path.parent)
                _write(handle, block[:1], start)
                os.fsync(handle)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(handle, start)
                    os.fsync(handle)
                raise
        self.read()


def _write(handle: int, data: bytes, position: int) -> None:
    while data:
        written = os.pwrite(handle, data, position)
        data, position = data[written:], position + written
