"""Uploads: request bodies that arrive in parts, because the link isn't up long enough to send one at once.

Each body is one file, `FOLDER/SITE/SHA256`; the file's size is the number of bytes that arrived, and its modification
time that of the last part. Parts are not synced to disk: after a power cut, bytes that were acknowledged may be
missing, and the digest of the whole shows it. The relay keeps the event until it is acknowledged.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from pathlib import Path

from eaves.base.clock import SYSTEM, Clock
from eaves.base.disk_errors import disk_errors
from eaves.errors import EventError, ImageTooLargeError

DIGEST = re.compile(r"[0-9a-f]{64}")
PER_SITE, IN_ALL = 8, 32
"""Maximum number of uploads of one site, and maximum size of all uploads in multiples of the largest allowed body.
Beyond it, the upload whose last part is oldest is deleted; the relay then sends that body again. A relay has one."""
MAX_AGE_S = 7 * 86_400.0
"""Age of the last part at which an upload is deleted, seconds."""
POLL_S = 600.0
"""Interval at which old uploads are searched for, seconds."""


class Uploads:
    """Uploads of all sites. Safe to use from many threads.

    Args:
        folder: Folder of the uploads, with a folder for each site; created when it is needed.
        max_bytes: Maximum size of a body, bytes.
        clock: Wall clock and monotonic clock.
    """

    def __init__(self, folder: Path, *, max_bytes: int, clock: Clock = SYSTEM) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._clock = clock
        self._looked_at = clock.monotonic()
        self._lock = threading.Lock()

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
        with disk_errors(path), self._lock:
            received = _size(path)
            if received > whole:
                path.unlink()
                received = 0
            if part and begin == received and begin + len(part) <= whole:
                self._make_room(path)
                with path.open("ab") as file:
                    file.write(part)
                os.utime(path, (self._clock.now(), self._clock.now()))
            return _size(path)

    def size(self, site: str, digest: str) -> int:
        """Return how many bytes of a body the receiver has.

        Raises:
            EventError: When the digest is malformed.
        """
        return _size(self._path(site, digest))

    def read(self, site: str, digest: str) -> bytes | None:
        """Return a whole body; None when it must be sent again.

        A body must be sent again when it is missing, incomplete, or doesn't match its digest.

        Raises:
            EventError: When the digest is malformed.
            StorageError: When the file can't be read.
        """
        path = self._path(site, digest)
        with disk_errors(path):
            try:
                body = path.read_bytes()
            except FileNotFoundError:
                return None
            if hashlib.sha256(body).hexdigest() != digest:
                with self._lock:
                    path.unlink(missing_ok=True)
                return None
            return body

    def finish(self, site: str, digest: str) -> None:
        """Mark an upload whose event is on disk: it is the first to be deleted at the site's next upload.

        The file is kept until then, in case the answer is lost.
        """
        path = self._path(site, digest)
        with disk_errors(path), self._lock:
            if path.exists():
                os.utime(path, (0, 0))

    def expire(self) -> None:
        """Delete the uploads whose last part is older than `MAX_AGE_S`. The receiver calls this regularly.

        Raises:
            StorageError: When a file can't be deleted.
        """
        now = self._clock.monotonic()
        if now - self._looked_at < POLL_S:
            return
        self._looked_at = now
        with disk_errors(self._folder), self._lock:
            for at, _, path in self._list("*"):
                if self._clock.now() - at > MAX_AGE_S:
                    path.unlink(missing_ok=True)

    def _path(self, site: str, digest: str) -> Path:
        if not DIGEST.fullmatch(digest):
            raise EventError(f"the name of an upload must be its SHA-256 in hexadecimal (got {digest[:70]!r})")
        return self._folder / site / digest

    def _list(self, site: str) -> list[tuple[float, int, Path]]:
        """Return time of the last part, size and path of each upload, the one with the oldest last part first."""
        found = [(path.stat(), path) for path in self._folder.glob(f"{site}/*")]
        return sorted((status.st_mtime, status.st_size, path) for status, path in found)

    def _make_room(self, path: Path) -> None:
        """Delete a site's finished uploads, and the oldest uploads beyond the limits, but not that of `path`."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = [one for one in self._list(path.parent.name) if one[2] != path]
        for at, _, upload in own:
            if not at or len(own) >= PER_SITE:
                upload.unlink()
                own = own[1:]
        every = [one for one in self._list("*") if one[2] != path]
        while every and sum(size for _, size, _ in every) > self._max_bytes * (IN_ALL - 1):
            every.pop(0)[2].unlink()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _parse(number: str) -> int:
    if not (number.isascii() and number.isdecimal() and len(number) <= 12):
        raise EventError(f"offset and size must be numbers (got {number[:20]!r})")
    return int(number)
