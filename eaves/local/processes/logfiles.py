"""Log files of functions and sources, bounded on disk and read across rotations.

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
    found: list[str] = []
    for _ in range(3):  # read again when a rotation happened meanwhile
        before = _identity(older_file(path))
        found = _read_end(path, lines)
        if len(found) < lines:
            found = _read_end(older_file(path), lines - len(found)) + found
        if _identity(older_file(path)) == before:
            break
    return found


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
    return _read_source(line).endswith(f"/{name}")


def _read_source(line: str) -> str:
    """Return the field `source` of a JSON line; empty when it is missing."""
    try:
        record = json.loads(line)
    except ValueError:
        return ""
    return str(record.get("source", "")) if isinstance(record, dict) else ""


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


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_ino, found.st_mtime_ns


def _read_end(path: Path, lines: int) -> list[str]:
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - lines * BYTES_A_LINE))
            return stream.read().decode(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        return []
