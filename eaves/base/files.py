"""Atomic replacement of files, with a choice of how much survives a power failure.

The module also shortens paths of Unix sockets.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

STAGING_SUFFIX = ".tmp"
"""Suffix of a staging file before it replaces its target; the name begins with a dot."""

MAX_SOCKET_PATH_BYTES = 107
"""Maximum path of a Unix socket, bytes. Source: sun_path in unix(7), 108 bytes with its final NUL."""

Durability = Literal["none", "file", "folder"]
"""Guarantees of a write. Each of them leaves the old content or the new one when the process is killed.

`none`: no guarantee; after a power failure the file may be empty, so its content must be reproducible.
`file`: the content is on disk before the rename; after a power failure the file has the old or the new content.
`folder`: the name is on disk too; the file has the new content as soon as the write returns.
Source: rename(2) and fsync(2): a name is only on disk after its directory is synced.
"""


Stamp = tuple[int, int, int]
"""Inode, size in bytes and time of the last change in nanoseconds of a file."""


def find_stamp(path: Path) -> Stamp | None:
    """Return a value that changes when the file that a path leads to changes; None when the file is missing."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def write_atomically(
    target: Path,
    content: str | bytes,
    *,
    durability: Durability = "folder",
    mode: int | None = 0o600,
    sole_writer: bool = False,
) -> None:
    """Replace a file in one step: a reader finds the old content or the new one, never a part.

    Args:
        target: Path of the file, which need not exist; its directory must exist.
        content: New content; text is stored as UTF-8.
        durability: Guarantees of the write, see `Durability`.
        mode: Permissions of the file, see `replacing`.
        sole_writer: Whether there is no other writer, see `replacing`.

    Raises:
        OSError: When the file can't be written; the old file is unchanged.
    """
    data = content.encode() if isinstance(content, str) else content
    with replacing(target, durability=durability, mode=mode, sole_writer=sole_writer) as stream:
        stream.write(data)


@contextlib.contextmanager
def replacing(
    target: Path, *, durability: Durability = "folder", mode: int | None = 0o600, sole_writer: bool = False
) -> Iterator[BinaryIO]:
    """Open a new file that replaces `target` at the end of the block; it is removed when the block fails.

    Args:
        target: Path of the file, see `write_atomically`.
        durability: Guarantees of the write, see `Durability`.
        mode: Permissions of the file; None: as the umask allows.
        sole_writer: Whether no other process writes this file at the same time. The next write then removes the staging
            file of a writer that was killed; otherwise each writer's staging file has a unique name.

    Raises:
        OSError: When the file can't be written; the old file is unchanged.
    """
    own = "" if sole_writer else f".{os.urandom(6).hex()}"
    staging = target.with_name(f".{target.name}{own}{STAGING_SUFFIX}")
    if sole_writer:
        staging.unlink(missing_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    handle = os.open(staging, flags, 0o666 if mode is None else 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            if mode is not None:
                os.fchmod(handle, mode)
            yield stream
            stream.flush()
            if durability != "none":
                os.fsync(handle)
        staging.rename(target)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(target)  # a write's error doesn't name the file
        with contextlib.suppress(OSError):
            staging.unlink()
        raise
    if durability == "folder":
        sync(target.parent)


def rename_durably(source: Path, target: Path) -> None:
    """Rename a file or a directory after its content is on disk, and write the new name to disk as well.

    Raises:
        OSError: When the file or directory can't be synced or renamed.
    """
    for path in [*source.rglob("*"), source]:
        sync(path)
    source.rename(target)
    sync(target.absolute().parent)


def remove_durably(path: Path) -> None:
    """Remove a file so that a power failure doesn't restore it; do nothing when it doesn't exist.

    Raises:
        OSError: When the file can't be removed.
    """
    try:
        path.unlink()
    except FileNotFoundError:
        return
    sync(path.parent)


def make_directory(path: Path, *, mode: int = 0o700) -> None:
    """Make a directory and its missing parents so that they survive a power failure.

    Args:
        path: Path of the directory; an existing one is unchanged.
        mode: Permissions of a new directory. New parents get those that the umask allows.

    Raises:
        OSError: When the directory can't be made.
    """
    if path.is_dir():
        return
    make_directory(path.parent, mode=0o777)
    path.mkdir(mode=mode, exist_ok=True)
    sync(path.parent)


def sync(path: Path) -> None:
    """Write a file's content, or a directory's names, to the disk.

    Raises:
        OSError: When the path can't be opened or written.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Yield a path to the same Unix socket that is short enough for the kernel; the path is valid while the block runs.

    A longer path is replaced by one through the open directory's descriptor. Source: proc(5), /proc/self/fd.

    Raises:
        OSError: When the directory can't be opened.
    """
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
