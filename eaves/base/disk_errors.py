"""Errors for disks that can't be written: they name the disk, whether it is full or read-only, and its free space."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eaves.errors import ConversionError, EavesError, StorageError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
READ_ONLY = frozenset({errno.EROFS})
NOTHING_LEFT_BYTES = 64 * 1024
"""Free space, bytes, below which any error of a library counts as an error of a full disk."""


@contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """Turn a disk's errors into a StorageError, whichever library reports them.

    Libraries hide the cause: onnxruntime reports a full disk as `Protobuf serialization failed`, TensorFlow in the text
    of its own error. So the error's text and the free space are checked too.

    Args:
        place: Path that is written; it need not exist.

    Raises:
        StorageError: When the disk is full or read-only, or a file can't be read or written.
    """
    try:
        yield
    except (StorageError, ConnectionError):
        raise
    except OSError as error:
        raise build_disk_error(error, place) from error
    except Exception as error:
        if isinstance(error, EavesError) and not isinstance(error, ConversionError):
            raise  # the error itself says what failed
        number = _find_number(error)
        if number is None and not is_full(place):
            raise
        raise build_disk_error(OSError(number or errno.ENOSPC, ""), place) from error


def build_disk_error(error: OSError, place: Path) -> StorageError:
    """Build the StorageError that tells a person which disk or file failed, why, and how to fix it.

    Args:
        error: The operating system's error.
        place: Path that is written; the error's own file name takes precedence.
    """
    where = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else place
    if error.errno in FULL:
        usage = shutil.disk_usage(_existing(where))
        left = f"{usage.free / 1e6:.1f} of {usage.total / 1e6:.1f} MB are left"
        if error.errno == errno.EDQUOT:
            left = "the quota is used up"
        if error.errno == errno.EFBIG:
            left = "the file has reached its size limit (see `ulimit -f`)"
        hint = "free space on that disk, or write to another one; then run the same command again"
        return StorageError(f"the disk that holds {where} is full: {left}", hint=hint)
    if error.errno in READ_ONLY:
        hint = "write to another disk, or mount this one writable"
        return StorageError(f"the disk that holds {where} is read-only", hint=hint)
    hint = "check that the path exists, and that this user may read and write it"
    return StorageError(f"{where}: {error.strerror or error}", hint=hint)


def is_full(place: Path) -> bool:
    """Return whether the disk that holds a path, which need not exist, has no room left."""
    return shutil.disk_usage(_existing(place)).free < NOTHING_LEFT_BYTES


def reserve(descriptor: int, size_bytes: int, place: Path) -> None:
    """Allocate an open file's size on disk now.

    A file that is mapped into memory needs this: on a full disk, a write to one of its pages kills the process.

    Args:
        descriptor: Descriptor of the open file.
        size_bytes: Size of the file, at least 1.
        place: Directory of the file, for the error.

    Raises:
        StorageError: When the disk has no room for the file.
    """
    try:
        os.posix_fallocate(descriptor, 0, size_bytes)
    except OSError as error:
        raise build_disk_error(error, place) from error


def _find_number(error: BaseException) -> int | None:
    """Return the disk's error number behind a library's error; None when the error doesn't contain one."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in FULL | READ_ONLY:
            return seen.errno
        text = seen.message if isinstance(seen, EavesError) else str(seen)
        for number in FULL | READ_ONLY:
            if os.strerror(number) in text:
                return number
        seen = seen.__cause__ or seen.__context__
    return None


def _existing(path: Path) -> Path:
    """Return the path when it exists, else its nearest parent that exists."""
    path = path.absolute()
    return next(above for above in (path, *path.parents) if above.exists())
