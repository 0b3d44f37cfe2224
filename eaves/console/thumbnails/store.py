"""The file of thumbnails: the newest ones, each with its event and its predictions, bounded in bytes."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eaves.history import Record
from eaves.history.expendable_file import ExpendableFile
from eaves.history.record import COLUMNS, build_values, parse_rows

MAX_BYTES = 32_000_000
"""Default size limit of the file, bytes: about 2,000 thumbnails with their predictions."""
MAX_PREDICTIONS = 8
"""Maximum number of predictions that are kept with one image; several functions may predict the same image."""
DIGEST_CHARACTERS = 32
"""Number of hexadecimal digits of SHA-256 that stand for an image's identity."""
_STEP = 20
"""Maximum number of images that are deleted when one is added, for example after the limit was lowered."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS images (
    number INTEGER PRIMARY KEY AUTOINCREMENT, digest TEXT UNIQUE, subject TEXT, seq INTEGER, at REAL, jpeg BLOB
);
CREATE TABLE IF NOT EXISTS predictions (
    image INTEGER, seq INTEGER, at REAL, id TEXT, type TEXT, source TEXT, subject TEXT, extensions TEXT,
    size_bytes INTEGER, text TEXT, PRIMARY KEY (image, source, id)
) WITHOUT ROWID;
"""
_MAX_NUMBER = (1 << 63) - 1
_COLUMNS = "number, digest, subject, seq, at"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptImage:
    """One image whose thumbnail is kept.

    Attributes:
        number: Position in the order in which images were kept.
        digest: Short name of the image's identity, see `digest_of`.
        subject: `subject` of the event that captured the image.
        seq: `Record.seq` of that event. The history may have deleted the record since, or may have been replaced.
        at: Time of arrival of that event, Unix seconds.
        predictions: The image's predictions, oldest first.
    """

    number: int
    digest: str
    subject: str
    seq: int
    at: float
    predictions: tuple[Record, ...] = ()


class ThumbnailStore:
    """Thumbnails in one SQLite file. Threads may share it, and several processes may use the file.

    A damaged file is set aside, and an empty one is begun. While the file can't be used, for example because the disk
    is full, nothing is kept, which is logged once.

    Args:
        path: Path of the file.
        max_bytes: Size limit of the file, bytes; beyond it the images that were kept first are deleted.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self._file = ExpendableFile(
            path, schema=_SCHEMA, max_bytes=max_bytes, name="file of thumbnails", loss="images are not kept"
        )

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def put(self, captured: Record, jpeg: bytes | None, predictions: Sequence[Record] = ()) -> bool:
        """Keep an image; one that is kept already gets only the predictions.

        Args:
            captured: Record of the event that captured the image.
            jpeg: The thumbnail; None remembers that the image can't be decoded.
            predictions: Records of the image's predictions.

        Returns:
            Whether it was kept.
        """
        return self._file.write(lambda db: self._put(db, captured, jpeg, predictions))

    def attach(self, prediction: Record) -> None:
        """Keep a prediction with its image; nothing is done when the image isn't kept."""
        digest = digest_of(*prediction.image)
        if self.find([digest]):
            self._file.write(lambda db: _attach(db, digest, prediction))

    def get(self, digest: str) -> bytes | None:
        """Return a thumbnail; None when it isn't kept, or when the image can't be decoded."""
        rows = self._select("SELECT jpeg FROM images WHERE digest = ?", (digest,))
        return bytes(rows[0][0]) if rows and rows[0][0] is not None else None

    def find(self, digests: Collection[str]) -> dict[str, bool]:
        """Return which of these images are known, and whether each has a thumbnail."""
        sql = "SELECT digest, jpeg IS NOT NULL FROM images WHERE digest IN (SELECT value FROM json_each(?))"
        return {digest: bool(has_picture) for digest, has_picture in self._select(sql, (json.dumps(list(digests)),))}

    def kept(self, *, before: int | None = None, limit: int = 50) -> list[KeptImage]:
        """Return kept images that have a thumbnail, in the order of their events' time, newest first.

        Args:
            before: `KeptImage.number` of the image that the list begins after; None begins with the newest image.
            limit: Maximum number of images.
        """
        older = "" if before is None else "AND (at, number) < (SELECT at, number FROM images WHERE number = ?)"
        sql = f"SELECT {_COLUMNS} FROM images WHERE jpeg IS NOT NULL {older} ORDER BY at DESC, number DESC LIMIT ?"  # noqa: S608 - constants
        rows = self._select(sql, (limit,) if before is None else (max(0, min(before, _MAX_NUMBER)), limit))
        return [
            KeptImage(number=number, digest=digest, subject=subject, seq=seq, at=at, predictions=self._find(number))
            for number, digest, subject, seq, at in rows
        ]

    def _find(self, number: int) -> tuple[Record, ...]:
        """Return the predictions of an image."""
        sql = f"SELECT {COLUMNS} FROM predictions WHERE image = ? ORDER BY seq"  # noqa: S608 - constants
        return tuple(parse_rows(self._select(sql, (number,))))

    def _select(self, sql: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        """Return the rows of a query; none when the file can't be used."""
        nothing: list[tuple[Any, ...]] = []
        return self._file.read(lambda db: db.execute(sql, values).fetchall(), nothing)

    def _put(self, db: sqlite3.Connection, captured: Record, jpeg: bytes | None, predictions: Sequence[Record]) -> None:
        digest = digest_of(*captured.identity)
        sql = "INSERT OR IGNORE INTO images(digest, subject, seq, at, jpeg) VALUES (?, ?, ?, ?, ?)"
        db.execute("BEGIN IMMEDIATE")
        with db:
            db.execute(sql, (digest, captured.subject, captured.seq, captured.at, jpeg))
            for prediction in predictions:
                _attach(db, digest, prediction)
            if self._file.is_too_large(db):
                _delete_oldest(db)


def digest_of(source: str, event_id: str) -> str:
    """Return the short name of an image, by the identity of the event that captured it."""
    return hashlib.sha256(f"{source}\0{event_id}".encode(errors="replace")).hexdigest()[:DIGEST_CHARACTERS]


def _attach(db: sqlite3.Connection, digest: str, prediction: Record) -> None:
    """Add a prediction to a kept image that has fewer than `MAX_PREDICTIONS`."""
    sql = (
        f"INSERT OR IGNORE INTO predictions(image, {COLUMNS}) SELECT number, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM images"  # noqa: S608 - constants
        " WHERE digest = ? AND (SELECT count(*) FROM predictions WHERE image = number) < ?"
    )
    db.execute(sql, (*build_values(prediction), digest, MAX_PREDICTIONS))


def _delete_oldest(db: sqlite3.Connection) -> None:
    last = db.execute("SELECT number FROM images ORDER BY number LIMIT 1 OFFSET ?", (_STEP,)).fetchone()
    if last:
        db.execute("DELETE FROM predictions WHERE image < ?", last)
        db.execute("DELETE FROM images WHERE number < ?", last)
