"""Thumbnails: small JPEGs of images that flowed, kept in one SQLite file, bounded in bytes.

Each is made when a page first asks for it, while the platform still holds the image. Only re-encoded pixels are kept
and shown, so no metadata and no hostile structure of an image reaches a browser.
"""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
import threading
from collections.abc import Callable, Collection, Set
from pathlib import Path

from eaves.base.clock import SYSTEM, Clock
from eaves.errors import ImageError
from eaves.events import TENSOR_PREDICTED
from eaves.history import Record
from eaves.history.expendable_file import ExpendableFile

MAX_BYTES = 32_000_000
"""Default size limit of the file, bytes: about 2,500 thumbnails."""
DIGEST_CHARACTERS = 32
"""Number of hexadecimal digits of SHA-256 that stand for an image's identity."""
RECENT_S = 600.0
"""Age below which an image that isn't kept yet is assumed to be still in the platform's memory, seconds."""
SIDE = 320
"""Longest side of a thumbnail, pixels: a tile of 160 pixels on a screen with two dots per pixel."""
QUALITY = 75
"""JPEG quality; a photo then takes about 10 KB."""
MAX_WHOLE_PIXELS = 25_000_000
"""Maximum number of pixels of an image that must be decoded at its full size, which takes 100 MB; for others, such as
most JPEGs, `eaves.images.MAX_PIXELS` applies."""

_one_at_a_time = threading.Lock()
"""Held while an image is decoded, so that the memory is needed once, however many threads ask."""
_STEP = 20
"""Maximum number of thumbnails that are deleted when one is added, for example after the limit was lowered."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS thumbnails (number INTEGER PRIMARY KEY AUTOINCREMENT, digest TEXT UNIQUE, jpeg BLOB);
DROP TABLE IF EXISTS images;
DROP TABLE IF EXISTS predictions;
"""
_OLDEST = "DELETE FROM thumbnails WHERE number < (SELECT number FROM thumbnails ORDER BY number LIMIT 1 OFFSET ?)"


class Gallery:
    """Implements `eaves.console.backend.Images`. Threads may share it, and several processes may use the file.

    A damaged file is set aside, and an empty one is begun. While the file can't be used, for example because the disk
    is full, nothing is kept, which is logged once.

    Args:
        path: Path of the file of thumbnails.
        fetch: Returns the encoded image of a recent event by `source` and `id`, None when it isn't held any more; it
            may raise EavesError.
        max_bytes: Size limit of the file, bytes; beyond it the thumbnails that were kept first are deleted.
        clock: Clock that decides which events are recent.
    """

    def __init__(
        self,
        path: Path,
        fetch: Callable[[str, str], bytes | None],
        *,
        max_bytes: int = MAX_BYTES,
        clock: Clock = SYSTEM,
    ) -> None:
        self.image = fetch
        self._clock = clock
        self._file = ExpendableFile(
            path, schema=_SCHEMA, max_bytes=max_bytes, name="file of thumbnails", loss="images are not kept"
        )

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def thumbnail(self, captured: Record) -> bytes | None:
        """Return the thumbnail of a captured image; None when there is none.

        It is made and kept when the platform still holds the image; one that can't be decoded is remembered as such.
        """
        digest = digest_of(*captured.identity)
        if self.find([digest]):
            return self.kept_thumbnail(digest)
        data = self.image(*captured.identity)
        if data is None:
            return None
        jpeg = make_thumbnail(data)
        self._file.write(lambda db: self._put(db, digest, jpeg))
        return jpeg

    def kept_thumbnail(self, digest: str) -> bytes | None:
        """Return a thumbnail by the `digest_of` its image; None when it isn't kept, or the image can't be decoded."""
        sql = "SELECT jpeg FROM thumbnails WHERE digest = ?"
        found: bytes | None = self._file.read(lambda db: (db.execute(sql, (digest,)).fetchone() or (None,))[0], None)
        return found

    def find(self, digests: Collection[str]) -> dict[str, bool]:
        """Return which of these images are known, and whether each has a thumbnail."""
        sql = "SELECT digest, jpeg IS NOT NULL FROM thumbnails WHERE digest IN (SELECT value FROM json_each(?))"
        nothing: dict[str, bool] = {}
        return self._file.read(lambda db: dict(db.execute(sql, (json.dumps(list(digests)),))), nothing)

    def find_shown(self, records: Collection[Record]) -> Set[int]:
        """Return `Record.seq` of those records whose image has a thumbnail: a kept one, or one that can be made."""
        digests = {record.seq: digest_of(*record.image) for record in records if has_image(record)}
        known = self.find(set(digests.values()))
        recent = self._clock.now() - RECENT_S
        new = {record.seq for record in records if record.at > recent}
        return {seq for seq, digest in digests.items() if known.get(digest, seq in new)}

    def _put(self, db: sqlite3.Connection, digest: str, jpeg: bytes | None) -> None:
        db.execute("INSERT OR IGNORE INTO thumbnails(digest, jpeg) VALUES (?, ?)", (digest, jpeg))
        if self._file.is_too_large(db):
            db.execute(_OLDEST, (_STEP,))


def digest_of(source: str, event_id: str) -> str:
    """Return the short name of an image, by the identity of the event that captured it."""
    return hashlib.sha256(f"{source}\0{event_id}".encode(errors="replace")).hexdigest()[:DIGEST_CHARACTERS]


def has_image(record: Record) -> bool:
    """Return whether an event has an image, or is about one; the history doesn't say so of every event."""
    if record.cause is not None:
        return record.type != TENSOR_PREDICTED
    return record.size_bytes > 0 and not record.text


def make_thumbnail(data: bytes, side: int = SIDE) -> bytes | None:
    """Return a JPEG of the image; None when it can't be decoded.

    Args:
        data: The encoded file, from anybody.
        side: Maximum size of its longest side, pixels.
    """
    from eaves.images import MAX_PIXELS  # Pillow is loaded with the first image
    from eaves.images.decoder import load
    from eaves.images.envelope import open_envelope

    try:
        with _one_at_a_time:
            envelope = open_envelope(data)
            small = envelope.scalable and not envelope.buffered
            size = envelope.size or (1, 1)
            # libjpeg scales while neither side falls below what is needed; the shorter side of the thumbnail decides.
            needed = max(1, -(-side * min(size) // max(*size, 1)))
            image = load(data, at_least=(needed, needed), max_pixels=MAX_PIXELS if small else MAX_WHOLE_PIXELS)
            image.thumbnail((side, side))
            stream = io.BytesIO()
            image.save(stream, "JPEG", quality=QUALITY)
            return stream.getvalue()
    except (ImageError, MemoryError):
        return None
