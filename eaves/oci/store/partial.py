"""Content that has arrived in part: a file that outlives whoever fetched it, so that the next one goes on from there.

Its name is the digest of what it will be, and a lock on it keeps two from writing it at once. What is in it is believed
only once all of it has that digest.
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
from eaves.oci.outage import FIRST_SAID_S, SAID_EVERY_S, describe_amount
from eaves.oci.store.content_store import CHUNK_BYTES

PREFIX = ".part-"
MAX_AGE_S = 7 * 24 * 3600
"""Without a byte more; then nobody wants it any longer."""
MAX_COUNT = 8
"""Of those that nobody is writing; two pulls that were given up leave at most six."""
HELD_S = 900.0
"""A pull that writes the same content is waited for as long as some of it comes in this time, which is more than a
download goes without a byte."""
LOOK_S = 0.2


class Partial:
    """The file, open and locked.

    Args:
        path: Of it.
        handle: Open for reading and writing, and locked.
        descriptor: Of what it will be.
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
        """Whether it is what it was to be."""
        return (self.size, f"sha256:{self._seen.hexdigest()}") == (self._descriptor.size, self._descriptor.digest)

    @property
    def digest(self) -> str:
        """Of what is there."""
        return f"sha256:{self._seen.hexdigest()}"

    def append(self, piece: bytes) -> None:
        """Write more; unbuffered, so that all of it is there when the process is killed.

        Raises:
            OSError: When the disk is full; what is there is removed, for others to have the space.
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
        """Begin anew."""
        os.ftruncate(self._handle, 0)
        os.lseek(self._handle, 0, os.SEEK_SET)
        self._seen, self.size = hashlib.sha256(), 0

    def place(self, target: Path) -> None:
        """Give it its name."""
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
    """The partial file of some content, with nobody else writing it; None: somebody else completed it meanwhile.

    Args:
        target: Where the content will lie; the partial file is beside it.
        descriptor: Of it.
        is_here: Whether all of it is there.
        poll: Called several times a second while somebody else writes it; what it raises ends the waiting.
        say: Told now and then that somebody else writes it, a line each time.

    Raises:
        OciError: When somebody else holds it and does nothing.
        OSError: When it can't be written.
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
    """Remove what nobody has gone on with for long, and the oldest of very many."""
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
    return f"waiting for another process, which fetches {descriptor.digest[:19]} ({waited_s:.0f} s); {here} are here"


def _open_alone(
    path: Path, is_here: Callable[[], bool], poll: Callable[[], object], tell: Callable[[int, float], object]
) -> int | None:
    """The file, locked; None: somebody else completed it."""
    known, began = -1, time.monotonic()
    changed_at, tell_at = began, began + FIRST_SAID_S
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
                f"{path} is held by another process, which has fetched nothing for {HELD_S / 60:.0f} minutes",
                hint="end that process, then try again",
            )
        if time.monotonic() >= tell_at:
            tell_at = time.monotonic() + SAID_EVERY_S
            tell(size, time.monotonic() - began)
        poll()
        time.sleep(LOOK_S)


def _size(path: Path) -> int:
    """Bytes of a file; 0 when it is gone."""
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _remove(path: Path, handle: int) -> None:
    """Remove the file, unless the path leads to another by now."""
    if leads_to(path, handle):
        path.unlink()
