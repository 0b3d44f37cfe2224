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
from eaves.errors import OciError
from eaves.oci.descriptor import Descriptor
from eaves.oci.outage import FIRST_REPORT_S, REPORT_EVERY_S, describe_amount
from eaves.oci.store.content_store import CHUNK_BYTES

PREFIX = ".part-"
MAX_AGE_S = 7 * 24 * 3600
"""Time since the last change of a partial file after which the file is removed, seconds."""
MAX_COUNT = 8
"""Maximum number of partial files that no process is writing. Two downloads of container images that were given up
leave at most six."""
HELD_S = 900.0
"""Time after which this process stops waiting for another one that writes the same content and receives no bytes,
seconds. It is longer than a download may go without a byte."""
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
        return (self.size, f"sha256:{self._seen.hexdigest()}") == (self._descriptor.size, self._descriptor.digest)

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
        OciError: When another process holds the lock and receives no bytes for `HELD_S` seconds.
        OSError: When the file can't be written.
    """
    path = target.with_name(f"{PREFIX}{target.name}")
    handle = _open_alone(path, is_here, poll, lambda got, s: say(_describe_wait(descriptor, got, s)))
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


def _describe_wait(descriptor: Descriptor, got: int, waited_s: float) -> str:
    here = describe_amount(got, descriptor.size)
    return f"waiting for another process that downloads {descriptor.digest[:19]} ({waited_s:.0f} s); {here} downloaded"


def _open_alone(
    path: Path, is_here: Callable[[], bool], poll: Callable[[], object], report: Callable[[int, float], object]
) -> int | None:
    """Wait for the lock of a partial file and return its file descriptor; None when the content is complete.

    The content is complete when another process, which held the lock, has finished the download.
    """
    known, began = -1, time.monotonic()
    changed_at, report_at = began, began + FIRST_REPORT_S
    while True:
        handle = take_lock(path, wait=False)
        if handle is not None:
            return handle
        if is_here():
            return None
        size = _size(path)
        if size != known:
            known, changed_at = size, time.monotonic()
        if time.monotonic() - changed_at > HELD_S:
            raise OciError(
                f"{path} is locked by another process, which has downloaded nothing for {HELD_S / 60:.0f} minutes",
                hint="end that process, then run the command again",
            )
        if time.monotonic() >= report_at:
            report_at = time.monotonic() + REPORT_EVERY_S
            report(size, time.monotonic() - began)
        poll()
        time.sleep(LOOK_S)


def _size(path: Path) -> int:
    """Return the size of a file in bytes; 0 when it doesn't exist any more."""
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _remove(path: Path, handle: int) -> None:
    """Remove a partial file, unless its path leads to another file than the open one."""
    if leads_to(path, handle):
        path.unlink()
