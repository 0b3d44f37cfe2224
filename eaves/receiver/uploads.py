"""Bodies that come in parts, because a link is not up for as long as one takes: one file each until it is complete.

Nothing is promised for a part: what is said to be there may be gone after a power cut, and the digest of the whole
tells. The relay keeps the event until it is answered for.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from pathlib import Path

from eaves.disk import disk_errors
from eaves.errors import EventError, ImageTooLargeError

DIGEST = re.compile(r"[0-9a-f]{64}")
PER_SITE, IN_ALL = 4, 32
"""Bytes of one site's uploads and of all sites', in largest bodies; the one that got a part longest ago goes first. It
is sent again then."""
MAX_AGE_S = 7 * 86_400.0
"""An upload that got no part for so long is deleted, seconds."""


class Uploads:
    """The uploads of all sites. For many threads.

    Args:
        folder: Where they are, a folder for each site; made when it is needed.
        max_bytes: Largest body.
    """

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._finished: set[Path] = set()

    def append(self, site: str, digest: str, part: bytes, *, offset: str, size: str) -> int:
        """Add a part that begins where the file ends; another one is passed over.

        Args:
            site: Whose it is.
            digest: SHA-256 of the whole body, in hexadecimal.
            part: The part; empty to ask.
            offset: Where it begins, as it was sent.
            size: Bytes of the whole body, as they were sent.

        Returns:
            Bytes that are there.

        Raises:
            EventError: When the digest or a number isn't one.
            ImageTooLargeError: When the body is larger than allowed.
            StorageError: When it can't be written.
        """
        path, begin, whole = self._path(site, digest), _parse(offset), _parse(size)
        if whole > self._max_bytes:
            raise ImageTooLargeError(f"the body has more than {self._max_bytes} bytes", hint="send smaller images")
        with self._lock, disk_errors(path):
            there = path.stat().st_size if path.exists() else 0
            if there > whole:
                path.unlink()
                there = 0
            if begin == there and part and there + len(part) <= whole:
                self._make_room(path)
                with path.open("ab") as file:
                    file.write(part)
                there += len(part)
            return there

    def read(self, site: str, digest: str) -> bytes | None:
        """A whole body; None when it isn't there, or not all of it, or not as its digest says: it must be sent again.

        Raises:
            EventError: When the digest isn't one.
            StorageError: When it can't be read.
        """
        path = self._path(site, digest)
        with self._lock, disk_errors(path):
            body = path.read_bytes() if path.exists() else b""
            if hashlib.sha256(body).hexdigest() == digest:
                return body
            path.unlink(missing_ok=True)
            return None

    def finish(self, site: str, digest: str) -> None:
        """Its event is on disk. The file is kept until the site's next upload, in case the answer is lost."""
        with self._lock:
            self._finished.add(self._path(site, digest))

    def _path(self, site: str, digest: str) -> Path:
        if not DIGEST.fullmatch(digest):
            raise EventError(f"an upload is named by its SHA-256 in hexadecimal (got {digest[:70]!r})")
        return self._folder / site / digest

    def _make_room(self, path: Path) -> None:
        """Delete what is finished, old, or more than a site or all of them may have, but for this one."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        others = [(one.stat(), one) for one in self._folder.glob("*/*") if one != path]
        total = sum(status.st_size for status, _ in others)
        of_site = sum(status.st_size for status, one in others if one.parent == path.parent)
        for status, one in sorted(others, key=lambda pair: pair[0].st_mtime):
            own = one.parent == path.parent
            too_many = (own and of_site > self._max_bytes * (PER_SITE - 1)) or total > self._max_bytes * (IN_ALL - 1)
            if one in self._finished or time.time() - status.st_mtime > MAX_AGE_S or too_many:
                one.unlink()
                self._finished.discard(one)
                total -= status.st_size
                of_site -= status.st_size if own else 0


def _parse(number: str) -> int:
    if not (number.isascii() and number.isdecimal() and len(number) <= 12):
        raise EventError(f"offset and size are numbers (got {number[:20]!r})")
    return int(number)
