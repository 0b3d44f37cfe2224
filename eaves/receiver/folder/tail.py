"""Reading and repair of the end of a file of JSON lines, which may be incomplete after a kill."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator
from pathlib import Path

Key = tuple[str, str]
"""source and id of an event."""


def repair(path: Path) -> None:
    """Cut off an incomplete last line.

    Raises:
        OSError: When the file can't be read or written.
    """
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        if not size:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            end = view.rfind(b"\n") + 1
        if end < size:
            file.truncate(end)


def read_keys(path: Path, count: int) -> set[Key]:
    """Return the keys of the events in the last lines of a file.

    Args:
        path: Path of the file, which may be missing.
        count: Maximum number of lines to read.

    Raises:
        OSError: When the file can't be read.
    """
    try:
        if not path.stat().st_size:
            return set()
    except FileNotFoundError:
        return set()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return set(_iter_keys(view, count))


def _iter_keys(view: mmap.mmap, count: int) -> Iterator[Key]:
    end = view.rfind(b"\n")
    while end > 0 and count > 0:
        start = view.rfind(b"\n", 0, end) + 1
        try:
            line = json.loads(view[start:end])
            yield str(line["source"]), str(line["id"])
        except (ValueError, KeyError, TypeError, RecursionError):
            pass  # a line of another program; it is never mistaken for one of ours
        end = start - 1
        count -= 1
