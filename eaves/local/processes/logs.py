"""Log files of functions and sources, bounded on disk, and read across their rotations.

A child writes directly into its log file, so nothing here can block it, and its last lines are on disk when it dies. A
log that is too large is copied and then emptied in place; lines written between these two steps, some microseconds, are
lost. A pipe would lose nothing, but would block the child whenever its reader is blocked.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import stat
import sys
from pathlib import Path

BYTES_A_LINE = 2_048
"""Number of bytes that are read for each requested line. When the lines are longer on average, fewer are returned."""
MAX_READ_BYTES = 1_000_000
"""Maximum number of bytes read at a time, so that memory stays small however much a process writes."""
MAX_LINE_BYTES = 64_000
"""Maximum size of a line whose end isn't written yet, bytes; a longer one is returned in parts, each as a line."""
MARK_BYTES = 4_096
"""Number of bytes before the reading position that are remembered, so that the position is found again in the older
file after a rotation."""
LOST = "(some lines are missing here: the log was rotated before they were read)"

_log = logging.getLogger(__name__)


def rotate(folder: Path, *, max_bytes: int) -> None:
    """Move the content of large logs to `NAME.log.1`, replacing that file, and empty the logs in place.

    The processes that write the logs continue with the same open file.

    Args:
        folder: Directory of the logs `NAME.log`, which their writers have opened for appending.
        max_bytes: Maximum size of one log in both files together, bytes; the newest content is kept. Content that is
            written between two calls comes on top.
    """
    for path in folder.glob("*.log"):
        try:
            _rotate_one(path, max_bytes // 3)
        except OSError as error:
            _log.warning("the log %s can't be rotated: %s", path, error)


def tail(path: Path, lines: int) -> list[str]:
    """Return the last lines of a log, oldest first, from both of its files; none when it doesn't exist."""
    follower = LogFollower(path)
    found = follower.read_last(lines)
    return [*found, follower.unfinished][-lines:] if lines and follower.unfinished else found


def tail_source(path: Path, lines: int, name: str) -> list[str]:
    """Return the last lines of an agent's log that concern one source, oldest first.

    Args:
        path: The log of JSON lines.
        lines: Number of lines.
        name: Name of the source, the last part of the lines' field `source`.
    """
    return [line for line in tail(path, sys.maxsize) if is_of_source(line, name)][-lines:] if lines else []


def is_of_source(line: str, name: str) -> bool:
    """Return whether a line of an agent's log concerns a source of this name."""
    try:
        record = json.loads(line)
    except ValueError:
        return False
    return isinstance(record, dict) and str(record.get("source", "")).endswith(f"/{name}")


class LogFollower:
    """Reads each line that is appended to a log file once, also when the log is rotated.

    The lines that were not read before a rotation are then at the end of the older file, behind the bytes that were
    read last. When those bytes aren't found there, several rotations have come between two calls: the line `LOST` is
    returned in place of the missing lines, and then the whole older file.

    Args:
        path: Path of the log; the file may not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._mark = b""
        self._rest = b""
        self._identity = _identify(path)

    @property
    def unfinished(self) -> str:
        """The last line as far as it is written; empty when the log ends with a whole line."""
        return self._rest.decode(errors="replace")

    def read_last(self, lines: int) -> list[str]:
        """Return the last complete lines of the log, oldest first; `read_new` continues after them."""
        size_bytes, content = _read_end(self._path, lines)
        self._offset, self._mark = size_bytes, content[-MARK_BYTES:]
        found = self._split(content)
        if len(content) < size_bytes:
            found = found[1:]  # the first one has lost its beginning
        elif len(found) < lines:
            found = _read_end(older_file(self._path), lines)[1].decode(errors="replace").splitlines() + found
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
        content = _read_end(older_file(self._path), sys.maxsize)[1]
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


def _rotate_one(path: Path, third_bytes: int) -> None:
    """Rotate one log when it is larger than a third of its maximum size.

    The older file gets up to the other two thirds, so that a sudden burst of lines isn't lost.
    """
    if path.lstat().st_size <= third_bytes:
        return
    with os.fdopen(os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            return
        stream.seek(max(0, status.st_size - 2 * third_bytes))
        if stream.tell():
            stream.readline(third_bytes)  # the rest of a line whose beginning is cut off
        staging = path.with_name(f"{path.name}.tmp")
        with staging.open("wb") as older:
            shutil.copyfileobj(stream, older)
            staging.replace(older_file(path))
            shutil.copyfileobj(stream, older)  # lines that were written meanwhile
            os.truncate(stream.fileno(), 0)


def older_file(path: Path) -> Path:
    """Return the path of the file that a rotation moves the older lines of a log to."""
    return path.with_name(f"{path.name}.1")


def _read_end(path: Path, lines: int) -> tuple[int, bytes]:
    """Return the size of a file, and its last bytes, enough for some lines; nothing for a file that doesn't exist."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            start = stream.seek(max(0, size - max(MARK_BYTES, lines * BYTES_A_LINE)))
            return size, stream.read(size - start)
    except FileNotFoundError:
        return 0, b""


def _identify(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
