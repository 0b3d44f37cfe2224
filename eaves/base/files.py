"""Files that are replaced whole: one atomic write, with what is asked of it against a power cut as an argument.

Also paths of Unix sockets, however long.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

STAGING_SUFFIX = ".tmp"
"""End of the name of a file that is not yet the one it replaces; the name begins with a dot."""

MAX_SOCKET_PATH_BYTES = 107
"""Longest path of a Unix socket. Source: sun_path in unix(7), 108 bytes with its final NUL."""

Durability = Literal["none", "file", "folder"]
"""What a write asks of the disk. A process that is killed leaves the old content or the new one with each of them.

`none`: nothing; after a power cut the file may be empty, so it is one that can be made again.
`file`: the content is on disk before it gets its name; after a power cut the file has the old content or the new one.
`folder`: the same, and the name is on disk too; the file has the new content from the moment the write returns.
Source: rename(2) and fsync(2): a name is only on disk once its directory is.
"""


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
        target: Path of the file, which needs not exist; its directory must.
        content: New content; text is stored as UTF-8.
        durability: See `Durability`.
        mode: See `replacing`.
        sole_writer: See `replacing`.

    Raises:
        OSError: When the file can't be written; the old one is left as it was.
    """
    data = content.encode() if isinstance(content, str) else content
    with replacing(target, durability=durability, mode=mode, sole_writer=sole_writer) as stream:
        stream.write(data)


@contextlib.contextmanager
def replacing(
    target: Path, *, durability: Durability = "folder", mode: int | None = 0o600, sole_writer: bool = False
) -> Iterator[BinaryIO]:
    """A new file to write, which takes the place of `target` at the end of the block, and is removed if that fails.

    Args:
        target: As in `write_atomically`.
        durability: See `Durability`.
        mode: Permissions of the file; None: those that the umask gives a new file.
        sole_writer: Whether nobody else writes this file at the same time. The next write then removes what a process
            left that was killed while it wrote; otherwise each writer has a staging file of a name of its own.

    Raises:
        OSError: When the file can't be written; the old one is left as it was.
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
    except BaseException:
        with contextlib.suppress(OSError):
            staging.unlink()
        raise
    if durability == "folder":
        sync(target.parent)


def rename_durably(source: Path, target: Path) -> None:
    """Give a file, or a directory with all that is in it, its name once it is on disk, and the name as well.

    Raises:
        OSError: When it can't be written through or renamed.
    """
    for path in [*source.rglob("*"), source]:
        sync(path)
    source.rename(target)
    sync(target.absolute().parent)


def remove_durably(path: Path) -> None:
    """Remove a file so that a power cut doesn't bring it back; do nothing when it isn't there.

    Raises:
        OSError: When it can't be removed.
    """
    try:
        path.unlink()
    except FileNotFoundError:
        return
    sync(path.parent)


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
    sync(path.parent)


def sync(path: Path) -> None:
    """Write the content of a file, or the names in a directory, through to the disk.

    Raises:
        OSError: When it can't be opened or written.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A path of the same socket that the kernel takes, for as long as the block runs.

    A longer one goes by way of its folder, opened. Source: proc(5), /proc/self/fd.

    Raises:
        OSError: When the folder can't be opened.
    """
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
