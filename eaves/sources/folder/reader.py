"""Safe reading of a file below a folder that other users may write to.

Between the check of a file and its read, any user with write access to the folder can replace the file, or a folder on
its path, by a symbolic link to a file that only this process may read. Therefore each part of the path is opened by
itself, relative to the one before it and without following links, and the checks apply to the open file.
Source: open(2), O_NOFOLLOW, O_PATH and the rationale for openat().
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from eaves.errors import StorageError

CHUNK_BYTES = 1 << 20
_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""Flags of open(2) for a file. O_NONBLOCK is among them, because opening a named pipe would otherwise wait for its
writer."""


@dataclass(frozen=True, slots=True, order=True)
class FileVersion:
    """Version of a file's content, by modification time and size.

    Attributes:
        mtime_ns: Modification time, nanoseconds since 1970.
        size_bytes: Size in bytes.
    """

    mtime_ns: int
    size_bytes: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Return the version of a file with this status."""
        return cls(status.st_mtime_ns, status.st_size)


def identify(root: Path) -> tuple[int, int]:
    """Return device and inode of a folder; they change when it is recreated or another disk is mounted on its path.

    Raises:
        StorageError: When the folder doesn't exist or can't be opened.
    """
    try:
        with open_folder(root, "") as fd:
            status = os.fstat(fd)
    except OSError as error:
        raise _folder_error(root, error) from error
    return status.st_dev, status.st_ino


def find_version(root: Path, relative: str) -> FileVersion | None:
    """Return the version of a regular file below the folder; None for a missing file and for anything else.

    Raises:
        StorageError: When the folder itself can't be opened.
    """
    folder, _, name = relative.rpartition("/")
    try:
        with open_folder(root, folder) as fd:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except OSError:
        return None
    return FileVersion.of(status) if stat.S_ISREG(status.st_mode) else None


def read_file(root: Path, relative: str, version: FileVersion) -> bytes | None:
    """Return the content of a regular file; None when it no longer has this version or changes during the read.

    At most one byte more than `version.size_bytes` is read.

    Raises:
        StorageError: When the folder itself can't be opened.
        FileNotFoundError: When the file is gone.
        OSError: When the file can't be read, or a part of its path has become a symbolic link.
    """
    folder, _, name = relative.rpartition("/")
    with open_folder(root, folder) as parent, _closing(os.open(name, _FILE, dir_fd=parent)) as fd:
        if not _is(fd, version):
            return None
        data = _read(fd, version.size_bytes + 1)
        return data if len(data) == version.size_bytes and _is(fd, version) else None


@contextmanager
def open_folder(root: Path, relative: str, *, listing: bool = False) -> Iterator[int]:
    """Yield a file descriptor of a folder at or below `root`. Only `root` itself may be a symbolic link.

    Args:
        root: Folder that is watched.
        relative: Path below it with `/` between its parts; empty for `root` itself.
        listing: Whether the folder's entries are to be listed, which needs more rights than opening files in it.

    Raises:
        StorageError: When `root` can't be opened.
        OSError: When a folder below it can't be opened or is not a folder.
    """
    mode = os.O_RDONLY if listing else os.O_PATH
    parts = relative.split("/") if relative else []
    try:
        fd = os.open(root, (os.O_PATH if parts else mode) | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _folder_error(root, error) from error
    try:
        for number, part in enumerate(parts, 1):
            below = os.open(part, (os.O_PATH if number < len(parts) else mode) | _FOLDER, dir_fd=fd)
            os.close(fd)
            fd = below
        yield fd
    finally:
        os.close(fd)


def _folder_error(root: Path, error: OSError) -> StorageError:
    hint = f"mkdir -p {root}" if isinstance(error, FileNotFoundError) else f"ls -ld {root}"
    return StorageError(f"folder {root} can't be opened: {error.strerror}", hint=hint)


@contextmanager
def _closing(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)


def _is(fd: int, version: FileVersion) -> bool:
    status = os.fstat(fd)
    return stat.S_ISREG(status.st_mode) and FileVersion.of(status) == version


def _read(fd: int, size_bytes: int) -> bytes:
    data = bytearray()
    while len(data) < size_bytes:
        more = os.read(fd, min(size_bytes - len(data), CHUNK_BYTES))
        if not more:
            break
        data += more
    return bytes(data)
