"""Uploads: request bodies that arrive in parts, because the link isn't up long enough to send one at once.

Each body is one file until it is complete.

Parts are not synced to disk: after a power cut, bytes that were acknowledged may be missing, and the digest of the
whole shows it. The relay keeps the event until it is acknowledged.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from eaves.base.clock import SYSTEM, Clock
from eaves.base.disk_errors import disk_errors
from eaves.errors import EventError, ImageTooLargeError, OverloadedError

DIGEST = re.compile(r"[0-9a-f]{64}")
PER_SITE, IN_ALL = 4, 32
"""Maximum total size of the uploads of one site and of all sites, in multiples of the largest allowed body. Beyond it,
the upload whose last part is oldest is deleted; the relay then sends that body again."""
MOST = 8
"""Maximum number of uploads of one site at the same time; a relay has one."""
MAX_AGE_S = 7 * 86_400.0
"""Age of the last part at which an upload is deleted, seconds."""
POLL_S = 600.0
"""Interval at which old uploads are searched for, seconds."""


@dataclass(slots=True)
class _Upload:
    """State of one upload's file.

    Attributes:
        size: Number of valid bytes; a failed write may have left more behind them.
        at: When the last part arrived, on the monotonic clock.
        busy: Whether a thread reads or writes the file now, so that it can't be deleted.
        finished: Whether the event of the upload is on disk.
    """

    size: int
    at: float
    busy: bool = False
    finished: bool = False


@dataclass(slots=True)
class _Site:
    """Uploads of one site, the one with the oldest last part first.

    Attributes:
        turn: Held while one of the files is written or read, so that other sites don't wait for this site's disk.
        event: Held while an upload is turned into an event.
        uploads: Uploads by digest.
    """

    turn: threading.Lock = field(default_factory=threading.Lock)
    event: threading.Lock = field(default_factory=threading.Lock)
    uploads: dict[str, _Upload] = field(default_factory=dict)


class Uploads:
    """Uploads of all sites. Safe to use from many threads.

    The files are listed once, at the start. Their ages are counted on the monotonic clock from then on, so a jump of
    the wall clock deletes nothing.

    Args:
        folder: Folder of the uploads, with a folder for each site; created when it is needed.
        max_bytes: Maximum size of a body, bytes.
        clock: Wall clock and monotonic clock.

    Raises:
        StorageError: When the folder can't be read.
    """

    def __init__(self, folder: Path, *, max_bytes: int, clock: Clock = SYSTEM) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._clock = clock
        self._table = threading.Lock()
        self._looked_at = clock.monotonic()
        with disk_errors(folder):
            self._sites = self._list()

    def append(self, site: str, digest: str, part: bytes, *, offset: str, size: str) -> int:
        """Add a part that begins where the file ends; a part at any other offset is ignored.

        Args:
            site: Name of the site.
            digest: SHA-256 of the whole body, in hexadecimal.
            part: Bytes of the part; empty to ask for the current size.
            offset: Position of the part in the body, as text from the query.
            size: Size of the whole body in bytes, as text from the query.

        Returns:
            Number of bytes that the receiver has.

        Raises:
            EventError: When the digest or a number is malformed.
            ImageTooLargeError: When the body is larger than allowed.
            StorageError: When the file can't be written.
        """
        path, begin, whole = self._path(site, digest), _parse(offset), _parse(size)
        if whole > self._max_bytes:
            raise ImageTooLargeError(f"the body has more than {self._max_bytes} bytes", hint="send smaller images")
        with disk_errors(path), self._using(site, digest) as upload:
            if upload.size > whole:
                upload.size = 0
            if begin == upload.size and part and begin + len(part) <= whole:
                self._make_room(site)
                upload.size = begin + len(part) if _write(path, begin, part) else 0
                upload.at = self._clock.monotonic()
            return upload.size

    def size(self, site: str, digest: str) -> int:
        """Return how many bytes of a body the receiver has.

        Raises:
            EventError: When the digest is malformed.
        """
        self._path(site, digest)
        with self._table:
            upload = self._site(site).uploads.get(digest)
            return upload.size if upload else 0

    def read(self, site: str, digest: str) -> bytes | None:
        """Return a whole body; None when it must be sent again.

        A body must be sent again when it is missing, incomplete, or doesn't match its digest.

        Raises:
            EventError: When the digest is malformed.
            StorageError: When the file can't be read.
        """
        path = self._path(site, digest)
        with disk_errors(path):
            with self._using(site, digest) as upload:
                body = _read(path, upload.size)
            if hashlib.sha256(body).hexdigest() == digest:
                return body
            with self._using(site, digest) as upload:
                upload.size = 0
            return None

    @contextmanager
    def one_event(self, site: str) -> Iterator[None]:
        """Lock the site's uploads while one is turned into an event.

        Raises:
            OverloadedError: When another upload of the site is being turned into an event.
        """
        with self._table:
            turn = self._site(site).event
        if not turn.acquire(blocking=False):
            raise OverloadedError(f"another upload from {site} is in progress", hint="send one upload at a time")
        try:
            yield
        finally:
            turn.release()

    def finish(self, site: str, digest: str) -> None:
        """Mark an upload whose event is on disk.

        The file is kept until the site's next upload, in case the answer is lost.
        """
        self._path(site, digest)
        with self._table:
            if upload := self._site(site).uploads.get(digest):
                upload.finished = True

    def expire(self) -> None:
        """Delete the uploads whose last part is older than `MAX_AGE_S`. The receiver calls this regularly.

        Raises:
            StorageError: When a file can't be deleted.
        """
        with self._table, disk_errors(self._folder):
            now = self._clock.monotonic()
            if now - self._looked_at < POLL_S:
                return
            self._looked_at = now
            for name, site in self._sites.items():
                for digest in [one for one, upload in site.uploads.items() if now - upload.at > MAX_AGE_S]:
                    self._delete(name, digest)

    def _path(self, site: str, digest: str) -> Path:
        if not DIGEST.fullmatch(digest):
            raise EventError(f"the name of an upload must be its SHA-256 in hexadecimal (got {digest[:70]!r})")
        return self._folder / site / digest

    def _site(self, name: str) -> _Site:
        """Return a site's uploads. The caller holds the table's lock."""
        return self._sites.setdefault(name, _Site())

    @contextmanager
    def _using(self, name: str, digest: str) -> Iterator[_Upload]:
        """Yield one upload, which no other thread uses or deletes meanwhile.

        An upload without bytes is deleted afterwards.
        """
        with self._table:
            site = self._site(name)
        with site.turn:
            with self._table:
                upload = site.uploads.pop(digest, None) or _Upload(size=0, at=self._clock.monotonic())
                upload.busy = True
                site.uploads[digest] = upload  # moved to the end
            try:
                yield upload
            finally:
                with self._table:
                    upload.busy = False
                    if not upload.size:
                        self._delete(name, digest)

    def _make_room(self, name: str) -> None:
        """Delete a site's finished uploads and the oldest uploads beyond the limits, except uploads in use."""
        (self._folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._table:
            own = self._sites[name].uploads
            for digest, upload in list(own.items()):
                of_site = sum(one.size for one in own.values() if not one.busy)
                if upload.finished or len(own) > MOST or of_site > self._max_bytes * (PER_SITE - 1):
                    self._delete(name, digest)
            sizes = {site: sum(one.size for one in held.uploads.values()) for site, held in self._sites.items()}
            while sum(sizes.values()) > self._max_bytes * (IN_ALL - 1):
                others = [
                    (upload.at, site, digest)
                    for site, held in self._sites.items()
                    for digest, upload in held.uploads.items()
                    if not upload.busy
                ]
                if not others:
                    return
                _, site, digest = min(others)
                sizes[site] -= self._sites[site].uploads[digest].size
                self._delete(site, digest)

    def _delete(self, name: str, digest: str) -> None:
        """Forget an upload and delete its file, unless it is in use. The caller holds the table's lock."""
        uploads = self._sites[name].uploads
        if not uploads[digest].busy:
            (self._folder / name / digest).unlink(missing_ok=True)
            del uploads[digest]

    def _list(self) -> dict[str, _Site]:
        now, wall = self._clock.monotonic(), self._clock.now()
        found = []
        for path in self._folder.glob("*/*"):
            if DIGEST.fullmatch(path.name):
                status = path.stat()
                found.append((now - max(0.0, wall - status.st_mtime), path, status.st_size))
        sites: dict[str, _Site] = {}
        for at, path, size in sorted(found):
            sites.setdefault(path.parent.name, _Site()).uploads[path.name] = _Upload(size=size, at=at)
        return sites


def _write(path: Path, begin: int, part: bytes) -> bool:
    """Write a part into an upload's file from byte `begin` on; return False when the file was deleted meanwhile."""
    try:
        with path.open("r+b" if begin else "wb") as file:
            file.seek(begin)
            file.write(part)
            file.truncate()
    except FileNotFoundError:
        return False
    return True


def _read(path: Path, size: int) -> bytes:
    """Return the first `size` bytes of an upload's file, which are the valid ones; empty when the file was deleted."""
    try:
        with path.open("rb") as file:
            return file.read(size)
    except FileNotFoundError:
        return b""


def _parse(number: str) -> int:
    if not (number.isascii() and number.isdecimal() and len(number) <= 12):
        raise EventError(f"offset and size must be numbers (got {number[:20]!r})")
    return int(number)
