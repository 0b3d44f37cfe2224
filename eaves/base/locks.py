"""Locks between processes, and the hidden directory in which one process at a time makes a result.

The kernel holds a lock for an open file and releases it when the file is closed, also when the process is killed; no
clock is involved. Two handles of the same file exclude each other even within one process, and a forked child that
inherits a handle keeps the lock.
Source: flock(2).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path


def take_lock(path: Path, *, wait: bool, shared: bool = False, folder: bool = False, mode: int = 0o600) -> int | None:
    """Lock a file or a directory.

    Args:
        path: Path of the file, which is created when it doesn't exist, or of the directory.
        wait: Whether to wait while another handle has the lock.
        shared: Whether to hold the lock together with other shared holders.
        folder: Whether the path is a directory; it must exist.
        mode: Permissions of a created file.

    Returns:
        Descriptor of the open file; closing it releases the lock. None when another handle has the lock.

    Raises:
        OSError: When the path can't be opened or created.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY if folder else os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    while True:
        handle = os.open(path, flags | os.O_CLOEXEC, mode)
        try:
            fcntl.flock(handle, kind if wait else kind | fcntl.LOCK_NB)
            if leads_to(path, handle):
                return handle
        except BlockingIOError:
            os.close(handle)
            return None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # the last holder removed the file, and others lock a new one with its name


def leads_to(path: Path, handle: int) -> bool:
    """Return whether a path still refers to the open file with the descriptor `handle`.

    Another process may have replaced or deleted the file.
    """
    with contextlib.suppress(OSError):
        return os.path.samestat(path.stat(), os.fstat(handle))
    return False


@contextlib.contextmanager
def locked(path: Path, *, folder: bool = False, mode: int = 0o600) -> Iterator[None]:
    """Hold a lock while the block runs, after waiting for other holders. The lock file is not deleted.

    Args:
        path: Path of the file or directory, see `take_lock`.
        folder: Whether the path is a directory, see `take_lock`.
        mode: Permissions of a created file, see `take_lock`.

    Raises:
        OSError: When the path can't be opened or created.
    """
    handle = take_lock(path, wait=True, folder=folder, mode=mode)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def unfinished_path(target: Path) -> Path:
    """Return the directory in which `target` is made: `.NAME.unfinished` beside it, so that a rename completes it."""
    return target.parent / f".{target.name}.unfinished"


@contextlib.contextmanager
def unfinished_folder(target: Path, *, refusal: Exception | None = None, kept: Collection[str] = ()) -> Iterator[Path]:
    """Make the empty directory in which one process at a time makes `target`, and remove it at the end.

    The next start removes what a killed process has left in it.

    Args:
        target: Path of the result.
        refusal: Error to raise when another process has the directory; None: wait for that process.
        kept: Names in the directory that are not removed, neither after the block nor after a process was killed, such
            as checkpoints.

    Raises:
        OSError: When the directory can't be made or cleared.
    """
    place = unfinished_path(target)
    handle = _lock_folder(place, refusal)
    try:
        _clear(place, kept)
        yield place
    finally:
        with contextlib.suppress(OSError):  # the next start removes what can't be removed now
            _clear(place, kept)
            place.rmdir()
        os.close(handle)


def _lock_folder(place: Path, refusal: Exception | None) -> int:
    place.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with contextlib.suppress(FileExistsError):
            place.mkdir()
        with contextlib.suppress(FileNotFoundError):  # its last holder has removed it
            handle = take_lock(place, wait=refusal is None, folder=True)
            if handle is not None:
                return handle
            if refusal is not None:
                raise refusal


def _clear(place: Path, kept: Collection[str]) -> None:
    for entry in place.iterdir():
        if entry.name in kept:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
