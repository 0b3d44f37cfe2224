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
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

BYTES_A_LINE = 2_048
"""Number of bytes that are read for each requested line. When the lines are longer on average, fewer are returned."""
MIN_BYTES = 64_000
"""Minimum number of bytes that are read, so that a few lines may be long: JSON with a traceback."""

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


def tail(path: Path, lines: int, source: str = "") -> list[str]:
    """Return the last lines of a log, oldest first, from both of its files; none when it doesn't exist.

    Args:
        path: The log.
        lines: Number of lines.
        source: Name of the source whose lines are returned, of an agent's log of JSON lines; empty for all lines.
    """
    return next(follow(path, lines, source))


def follow(path: Path, lines: int, source: str = "") -> Iterator[list[str]]:
    """Yield what `tail` returns, and then for each step the lines that were completed since the step before.

    It reads only what is new. After a rotation, that begins in the older file behind the text that was read last.
    """
    wanted = sys.maxsize if source else lines
    size, content = _read_end(path, wanted)
    found = _split(content)
    if len(content) < size:
        found = found[1:] or found  # the first one has lost its beginning
    elif len(found) < wanted:
        found = _split(_read_end(older_file(path), wanted)[1]) + found
    found = [line for line in found if _is_of_source(line, source)]
    yield found[-lines:] if lines else []
    last = content[: content.rfind(b"\n") + 1]
    position = size - len(content) + len(last)
    while True:
        old = content = b""
        with suppress(FileNotFoundError), path.open("rb") as stream:
            if stream.seek(0, os.SEEK_END) < position:
                position, old = 0, _read_end(older_file(path), sys.maxsize)[1].rpartition(last)[2] if last else b""
            stream.seek(position)
            content = old + stream.read()
        content = content[: content.rfind(b"\n") + 1]
        position, last = max(0, position + len(content) - len(old)), content or last
        yield [line for line in _split(content) if _is_of_source(line, source)]


def _is_of_source(line: str, name: str) -> bool:
    """Return whether a line of an agent's log concerns a source of this name; any line does if the name is empty."""
    if not name:
        return True
    if f"/{name}" not in line:  # most lines are those of other sources
        return False
    try:
        record = json.loads(line)
    except ValueError:
        return False
    return isinstance(record, dict) and str(record.get("source", "")).endswith(f"/{name}")


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
            start = stream.seek(max(0, size - max(MIN_BYTES, lines * BYTES_A_LINE)))
            return size, stream.read(size - start)
    except FileNotFoundError:
        return 0, b""


def _split(content: bytes) -> list[str]:
    """Return the lines in the content of a log; the last one may not be written to its end yet."""
    *whole, rest = content.split(b"\n")
    return [line.decode(errors="replace").rstrip("\r") for line in (*whole, *filter(None, [rest]))]
