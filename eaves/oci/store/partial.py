"""Partly downloaded content: a file that outlives its process, so that the next process continues the download.

The file's name is the digest of the complete content, and a lock keeps two processes from writing it at the same time.
The file is used only when its content is complete and has that digest.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from eaves.base.locks import leads_to, take_lock
from eaves.oci.descriptor import Descriptor
from eaves.oci.store.content_store import CHUNK_BYTES, FIRST_REPORT_S, REPORT_EVERY_S, describe_amount

PREFIX = ".part-"
MAX_AGE_S = 7 * 24 * 3600
"""Time since the last change of a partial file after which the file is removed, seconds."""
MAX_COUNT = 8
"""Maximum number of partial files that no process is writing. Two downloads of container images that were given up
leave at most six."""
LOOK_S = 0.2


class Partial:
    """A partial file that is open and locked by this process.

    Args:
        path: Path of the file.
        handle: File descriptor, open for reading and writing, and locked.
        descriptor: Descriptor of the complete content.
    """

    def __init__(self, path: Path, handle: int, descriptor: Descriptor) -> None:
        self._path, self._handle = path, handle
        self._descriptor = descriptor
        self._seen = hashlib.sha256()
        self.size = 0
        if os.fstat(handle).st_size > descriptor.size:
            self.clear()
        while piece := os.read(handle, CHUNK_BYTES):
            self._count(piece)

    @property
    def is_whole(self) -> bool:
        """Whether the content is complete and has the right digest."""
        return (self.size, self.digest) == (self._descriptor.size, self._descriptor.digest)

    @property
    def digest(self) -> str:
        """Digest of the bytes in the file."""
        return f"sha256:{self._seen.hexdigest()}"

    def append(self, piece: bytes) -> None:
        """Append bytes without buffering, so that they are in the file even if the process is killed.

        Raises:
            OSError: When the disk is full; the file's content is removed, so that other programs have the space.
        """
        rest = memoryview(piece)
        try:
            while rest:
                rest = rest[os.write(self._handle, rest) :]
        except OSError:
            self.clear()
            raise
        self._count(piece)

    def clear(self) -> None:
        """Delete the content of the file, so that the download starts at the first byte."""
        os.ftruncate(self._handle, 0)
        os.lseek(self._handle, 0, os.SEEK_SET)
        self._seen, self.size = hashlib.sha256(), 0

    def place(self, target: Path) -> None:
        """Move the file to the path of the complete content."""
        os.fchmod(self._handle, 0o644)
        self._path.replace(target)

    def _count(self, piece: bytes) -> None:
        self._seen.update(piece)
        self.size += len(piece)


@contextmanager
def open_partial(
    target: Path,
    descriptor: Descriptor,
    is_here: Callable[[], bool],
    poll: Callable[[], object],
    say: Callable[[str], object] = lambda text: None,
) -> Iterator[Partial | None]:
    """Open and lock the partial file of some content.

    Yields:
        The partial file; None when another process has completed the content meanwhile.

    Args:
        target: Path of the complete content; the partial file is in the same folder.
        descriptor: Descriptor of the content.
        is_here: Function that returns whether the complete content exists.
        poll: Function that is called several times a second while another process writes the file; an exception from it
            ends the waiting.
        say: Function that is called with a line of text from time to time while another process writes the file.

    Raises:
        OSError: When the file can't be written.
    """
    path = target.with_name(f"{PREFIX}{target.name}")
    handle = _wait_for_lock(path, descriptor, is_here, poll, say)
    if handle is None:
        yield None
        return
    try:
        if is_here():
            yield None
        else:
            yield Partial(path, handle, descriptor)
    finally:
        with suppress(OSError):
            if not os.fstat(handle).st_size or is_here():
                _remove(path, handle)
        os.close(handle)


def sweep_partials(folder: Path) -> None:
    """Remove partial files older than `MAX_AGE_S`, and the oldest of more than `MAX_COUNT` files."""
    found = []
    for path in folder.glob(f"{PREFIX}*"):
        with suppress(OSError):
            found.append((path.stat().st_mtime, path))
    oldest = time.time() - MAX_AGE_S
    for number, (changed, path) in enumerate(sorted(found, reverse=True)):
        if changed >= oldest and number < MAX_COUNT:
            continue
        with suppress(OSError):
            handle = take_lock(path, wait=False)
            if handle is None:
                continue
            try:
                _remove(path, handle)
            finally:
                os.close(handle)


def _wait_for_lock(
    path: Path,
    descriptor: Descriptor,
    is_here: Callable[[], bool],
    poll: Callable[[], object],
    say: Callable[[str], object],
) -> int | None:
    """Wait for the lock of a partial file and return its file descriptor; None when the content is complete.

    The content is complete when another process, which held the lock, has finished the download.
    """
    began = time.monotonic()
    report_at = began + FIRST_REPORT_S
    while (handle := take_lock(path, wait=False)) is None:
        if is_here():
            return None
        now = time.monotonic()
        if now >= report_at:
            report_at = now + REPORT_EVERY_S
            here = describe_amount(_size(path), descriptor.size)
            waited = f"waiting for another process that downloads {descriptor.digest[:19]} ({now - began:.0f} s)"
            say(f"{waited}; {here} downloaded")
        poll()
        time.sleep(LOOK_S)
    return handle


def _size(path: Path) -> int:
    """Return the size of a file in bytes; 0 when it doesn't exist any more."""
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _remove(path: Path, handle: int) -> None:
    """Remove a partial file, unless its path leads to another file than the open one."""
    if leads_to(path, handle):
        path.unlink()
