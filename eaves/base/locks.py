"""Locks between processes, and the hidden folder in which one process at a time makes what becomes a folder.

The kernel holds a lock for an open file and releases it when the file is closed, by the end of a killed process too; no
clock is involved. Two handles exclude each other within one process, and a forked child that inherits one keeps it.
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
    """Lock a file or a folder.

    Args:
        path: Path of the file, which is made when it isn't there, or of the folder.
        wait: Whether to wait while another holds the lock.
        shared: Whether to hold it beside others that take it shared too.
        folder: Whether it is a folder; it must exist.
        mode: Permissions of a file that is made.

    Returns:
        The open file, whose closing releases the lock; None when another holds it.

    Raises:
        OSError: When the path can't be opened or made.
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
        os.close(handle)  # who held it has removed the file, and others lock a new one of its name


def leads_to(path: Path, handle: int) -> bool:
    """Whether a path is still that of an open file."""
    with contextlib.suppress(OSError):
        return os.path.samestat(path.stat(), os.fstat(handle))
    return False


@contextlib.contextmanager
def locked(path: Path, *, folder: bool = False, mode: int = 0o600) -> Iterator[None]:
    """Hold a lock for a block, after waiting for those that hold it. Its file stays.

    Args:
        path: See `take_lock`.
        folder: See `take_lock`.
        mode: See `take_lock`.

    Raises:
        OSError: When the path can't be opened or made.
    """
    handle = take_lock(path, wait=True, folder=folder, mode=mode)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def unfinished_path(target: Path) -> Path:
    """The folder in which `target` is made: `.NAME.unfinished` beside it, so that a rename is enough at the end."""
    return target.parent / f".{target.name}.unfinished"


@contextlib.contextmanager
def unfinished_folder(target: Path, *, refusal: Exception | None = None, kept: Collection[str] = ()) -> Iterator[Path]:
    """The folder in which `target` is made, empty, for one process at a time; it is removed at the end.

    What a killed process has left in it is removed at the next start.

    Args:
        target: Path of what is made in it.
        refusal: Raised when another process has it; None: wait for that process.
        kept: Names in it that outlive the block and a killed process, checkpoints say.

    Raises:
        OSError: When it can't be made or cleared.
    """
    place = unfinished_path(target)
    handle = _lock_folder(place, refusal)
    try:
        _clear(place, kept)
        yield place
    finally:
        with contextlib.suppress(OSError):  # what can't be removed now is removed at the next start
            _clear(place, kept)
            place.rmdir()
        os.close(handle)


def _lock_folder(place: Path, refusal: Exception | None) -> int:
    place.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with contextlib.suppress(FileExistsError):
            place.mkdir()
        with contextlib.suppress(FileNotFoundError):  # who held it has removed it
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
