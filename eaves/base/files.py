"""Small files that survive a power cut: one atomic write and its counterparts."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path


def write_atomically(target: Path, text: str) -> None:
    """Replace a file in one step.

    A reader, or the next start after a power cut, finds the old content or the new one, never a part; once this
    returns it finds the new one. The file is readable and writable for its owner only.
    Source: rename(2) and fsync(2): the name is only on disk once its directory is.

    Args:
        target: Path of the file, which needs not exist; its directory must.
        text: New content, stored as UTF-8.

    Raises:
        OSError: When the file can't be written; the old one is left as it was.
    """
    staging = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with os.fdopen(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        staging.rename(target)
    except BaseException:
        with contextlib.suppress(OSError):
            staging.unlink()
        raise
    sync_directory(target.parent)


def remove_durably(path: Path) -> None:
    """Remove a file so that a power cut doesn't bring it back; do nothing when it isn't there.

    Raises:
        OSError: When it can't be removed.
    """
    try:
        path.unlink()
    except FileNotFoundError:
        return
    sync_directory(path.parent)


def make_directory(path: Path, *, mode: int = 0o700) -> None:
    """Make a directory and those above it that are missing, so that a power cut doesn't take them away.

    Args:
        path: Path of the directory; it is left as it is when it exists.
        mode: Permissions of a new directory. Those made above it get the umask's.

    Raises:
        OSError: When it can't be made.
    """
    if path.is_dir():
        return
    make_directory(path.parent, mode=0o777)
    path.mkdir(mode=mode, exist_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Write the names in a directory through to the disk.

    Raises:
        OSError: When the directory can't be opened or written.
    """
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
