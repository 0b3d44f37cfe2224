"""Reading of the lines that are appended to a log file, across the rotations of `eaves.local.processes.logfiles`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from eaves.local.processes.logfiles import BYTES_A_LINE, older_file

MAX_READ_BYTES = 1_000_000
"""Maximum number of bytes read at a time, so that memory stays small however much a process writes."""
MAX_LINE_BYTES = 64_000
"""Maximum size of a line whose end isn't written yet, bytes; a longer one is returned in parts, each as a line."""
MARK_BYTES = 4_096
"""Number of bytes before the reading position that are remembered, so that the position is found again in the older
file after a rotation."""
LOST = "(some lines are missing here: the log was rotated before they were read)"


class LogFollower:
    """Reads each line that is appended to a log file once, also when the log is rotated.

    A rotation copies a log that is too large into an older file, and then empties it in place. The lines that were not
    read yet are then at the end of the older file, behind the bytes that were read last. When those bytes aren't found
    there, several rotations have come between two calls: the line `LOST` is returned in place of the missing lines, and
    then the whole older file.

    Args:
        path: Path of the log; the file may not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._mark = b""
        self._rest = b""
        self._identity = _identify(path)

    def read_last(self, lines: int) -> list[str]:
        """Return the last complete lines of the log, oldest first; `read_new` continues after them.

        Args:
            lines: Number of lines to return.
        """
        older, newer = _read_end(older_file(self._path), lines), _read_end(self._path, lines)
        self._offset = newer.size_bytes
        self._mark = newer.content[-MARK_BYTES:]
        found = self._split(newer.content)
        if not newer.is_whole:
            found = found[1:]  # the first one has lost its beginning
        elif len(found) < lines:
            found = older.content.decode(errors="replace").splitlines() + found
        return found[-lines:] if lines else []

    def read_new(self) -> list[str]:
        """Return the complete lines that were added since the last call, from at most `MAX_READ_BYTES` bytes."""
        identity = _identify(self._path)
        if identity is None:
            return []
        lines: list[str] = []
        if identity != self._identity:
            self._identity, self._offset, self._mark, self._rest = identity, 0, b"", b""
        elif self._is_rotated():
            lines = self._read_older()
            self._offset, self._mark = 0, b""
        with self._path.open("rb") as stream:
            stream.seek(self._offset)
            content = stream.read(MAX_READ_BYTES)
        self._offset += len(content)
        self._mark = (self._mark + content)[-MARK_BYTES:]
        return lines + self._split(content)

    def _is_rotated(self) -> bool:
        """Return whether the log was rotated: the bytes before the reading position aren't those that were read."""
        if not self._mark:
            return self._path.stat().st_size < self._offset
        with self._path.open("rb") as stream:
            stream.seek(self._offset - len(self._mark))
            return stream.read(len(self._mark)) != self._mark

    def _read_older(self) -> list[str]:
        """Return the part of the older log file that was not read before the rotation."""
        try:
            content = older_file(self._path).read_bytes()
        except FileNotFoundError:
            content = b""
        _, found, behind = content.rpartition(self._mark)
        if found and self._mark:
            return self._split(behind)
        self._rest = b""
        return [LOST, *self._split(content)]

    def _split(self, content: bytes) -> list[str]:
        """Return the complete lines in new content, and keep an incomplete last line for the next call."""
        *whole, self._rest = (self._rest + content).split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            whole, self._rest = [*whole, self._rest], b""
        return [line.decode(errors="replace").rstrip("\r") for line in whole]


@dataclass(frozen=True, slots=True, kw_only=True)
class _FileEnd:
    """The last bytes of a file, and the size that the file had when they were read."""

    content: bytes = b""
    size_bytes: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether the bytes that were read are the whole file."""
        return len(self.content) == self.size_bytes


def _read_end(path: Path, lines: int) -> _FileEnd:
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            start = stream.seek(max(0, size - max(MARK_BYTES, lines * BYTES_A_LINE)))
            return _FileEnd(content=stream.read(size - start), size_bytes=size)
    except FileNotFoundError:
        return _FileEnd()


def _identify(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
