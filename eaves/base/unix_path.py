"""Paths of Unix sockets, however long."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_BYTES = 107
"""Source: sun_path in unix(7), 108 bytes with its final NUL."""


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A path of the same socket that the kernel takes, for as long as the block runs.

    A longer one goes by way of its folder, opened. Source: proc(5), /proc/self/fd.

    Raises:
        OSError: When the folder can't be opened.
    """
    if len(os.fsencode(path)) <= MAX_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
