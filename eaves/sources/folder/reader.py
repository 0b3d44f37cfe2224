"""Listing and reading of a folder that other users may write to, without following links.

Between the check of a file and its read, any user with write access to the folder can replace the file, or a folder on
its path, by a symbolic link to a file that only this process may read. Therefore the last part of a path is opened
without following links, and the kernel says where the open file is: nothing outside the folder is read.
Source: open(2), O_NOFOLLOW, O_PATH; proc(5), /proc/pid/fd.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from eaves.errors import StorageError
from eaves.media_type import is_image_path, is_unsupported_path

CHUNK_BYTES = 1 << 20


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
    with _open(root, "", os.O_PATH) as fd:
        status = os.fstat(fd)
    return status.st_dev, status.st_ino


def find_version(root: Path, relative: str) -> FileVersion | None:
    """Return the version of a regular file below the folder; None for a missing file and for anything else.

    Raises:
        StorageError: When the folder itself can't be opened.
    """
    try:
        with _open(root, relative, os.O_PATH) as fd:
            status = os.fstat(fd)
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
    with _open(root, relative, os.O_RDONLY | os.O_NONBLOCK) as fd:  # opening a named pipe would wait for its writer
        if not _is(fd, version):
            return None
        data, size_bytes = bytearray(), version.size_bytes + 1
        while len(data) < size_bytes and (more := os.read(fd, min(size_bytes - len(data), CHUNK_BYTES))):
            data += more
        return bytes(data) if len(data) == version.size_bytes and _is(fd, version) else None


def scan(
    root: Path, unreadable: Callable[[str, OSError], None], unsupported: Callable[[str], None]
) -> Iterator[tuple[str, FileVersion]]:
    """Yield path and version of every regular image file below the folder, in no particular order.

    Memory holds the names of the folders that are still to be listed, but no names of files. Symbolic links aren't
    followed. Files that disappear during the scan are left out.

    Args:
        root: Folder to scan.
        unreadable: Called with each folder below it that can't be listed, and the error.
        unsupported: Called with each image in a format that no function reads (HEIC, AVIF).

    Raises:
        StorageError: When `root` itself can't be opened, or disappears before the scan has ended.
    """
    pending = [""]
    while pending:
        folder = pending.pop()
        prefix = f"{folder}/" if folder else ""
        try:
            with _open(root, folder, os.O_RDONLY | os.O_DIRECTORY) as fd, os.scandir(fd) as entries:
                for entry in entries:
                    relative = prefix + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        if not entry.name.startswith("."):
                            pending.append(relative)
                    elif is_image_path(relative) and (version := _version(entry)) is not None:
                        yield relative, version
                    elif is_unsupported_path(relative) and entry.is_file(follow_symlinks=False):
                        unsupported(relative)
        except (FileNotFoundError, NotADirectoryError):
            continue  # the folder was removed, or replaced by a file or a link
        except OSError as error:
            unreadable(folder, error)


@contextmanager
def _open(root: Path, relative: str, flags: int) -> Iterator[int]:
    """Yield a file descriptor of a file or folder at or below `root`. Only `root` itself may be a symbolic link.

    Raises:
        StorageError: When `root` can't be opened.
        OSError: When what is below it can't be opened, or isn't below it.
    """
    try:
        fd = os.open(root, (os.O_PATH if relative else flags) | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        hint = f"mkdir -p {root}" if isinstance(error, FileNotFoundError) else f"ls -ld {root}"
        raise StorageError(f"folder {root} can't be opened: {error.strerror}", hint=hint) from error
    try:
        if relative:
            above, fd = fd, os.open(relative, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            place = Path(f"/proc/self/fd/{above}").readlink()
            os.close(above)
            if place not in Path(f"/proc/self/fd/{fd}").readlink().parents:
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), relative)
        yield fd
    finally:
        os.close(fd)


def _is(fd: int, version: FileVersion) -> bool:
    status = os.fstat(fd)
    return stat.S_ISREG(status.st_mode) and FileVersion.of(status) == version


def _version(entry: os.DirEntry[str]) -> FileVersion | None:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return FileVersion.of(status) if stat.S_ISREG(status.st_mode) else None
