"""Archive of received events in a folder, as files such as `events-2026-11-25.jsonl` and `images/SITE/NAME.jpg`.

Each line is a CloudEvent in JSON. The bytes of an image are in a file of their own, whose path within the folder is the
line's `dataref`. The file of a line is that of the UTC day on which the event was received, so it doesn't depend on
when the line is written.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from eaves.base.disk_errors import disk_errors
from eaves.base.files import make_directory, sync, write_atomically
from eaves.delivery import AttemptResult, Sender
from eaves.delivery.response_rules import NO_ANSWER, Blame
from eaves.errors import StorageError
from eaves.events import Event
from eaves.link.batch import encode_event
from eaves.media_type import suffix
from eaves.spool import Entry

BATCH, BATCH_BYTES = 500, 8_000_000
"""Maximum number of entries, and of their bytes, that are written and released together."""
IMAGES = "images"
DAY_S = 86_400.0

Key = tuple[str, str]
"""source and id of an event."""


class FolderSender(Sender):
    """Delivers entries by writing them into a folder; it refuses none.

    Args:
        folder: Folder of the files.

    Raises:
        StorageError: When the folder can't be created.
    """

    def __init__(self, folder: Path) -> None:
        self._archive = Archive(folder, batch=BATCH)

    def limits(self, lane: str) -> tuple[int, int]:
        """Return the maximum number of entries and of bytes that are written together."""
        return BATCH, BATCH_BYTES

    def send(self, lane: str, entries: Sequence[Entry]) -> Sequence[AttemptResult]:
        """Write entries; after an error the same entries come again, since none was set aside."""
        try:
            self._archive.write(entries)
        except StorageError as error:
            return [AttemptResult(status=NO_ANSWER, blame=Blame.WAY, reason=error.message, reached=False)]
        return [AttemptResult()] * len(entries)


class Archive:
    """Writes entries into a folder. For one thread of one process.

    Args:
        folder: Folder of the files; created when it is missing.
        batch: Maximum number of entries in one `write`.

    Raises:
        StorageError: When the folder can't be created.
    """

    def __init__(self, folder: Path, *, batch: int) -> None:
        self._folder = folder
        self._batch = batch
        self._written: dict[str, set[Key]] = {}
        """Keys of the written entries that may be passed to `write` again, by day."""
        with disk_errors(folder):
            make_directory(folder)

    def write(self, entries: Sequence[Entry]) -> None:
        """Write entries. They are on disk when this returns; after an error the same entries must be passed again.

        An entry that was written before a kill or an error is not written twice.

        Args:
            entries: Entries in the order of the queue. Until they are released, the next call must contain them again.

        Raises:
            StorageError: When the disk is full, or can't be written.
        """
        with disk_errors(self._folder):
            days: dict[str, list[Event]] = {}
            for entry in entries:
                days.setdefault(_day(entry), []).append(entry.event)
            for day, events in days.items():
                self._write_day(day, events)
            self._written = {day: self._written[day] for day in days}

    def _write_day(self, day: str, events: Sequence[Event]) -> None:
        path = self._folder / f"events-{day}.jsonl"
        if day not in self._written:
            if path.exists():
                repair(path)
            self._written[day] = read_keys(path, self._batch)
        new = [event for event in events if _key(event) not in self._written[day]]
        if not new:
            return
        folders = set()
        lines = []
        for event in new:
            is_image = bool(event.data) and (event.datacontenttype or "").lower().startswith("image/")
            if is_image:
                name = name_image(event)
                folders.add(self._write_image(name, event.data))
                event = _refer(event, name)  # noqa: PLW2901 - the image is in a file now
            lines.append(encode_event(event) + b"\n")
        for folder in folders:
            sync(folder)
        del self._written[day]  # after an error the file is read again, whatever its end
        self._append(path, b"".join(lines))
        self._written[day] = {_key(event) for event in events}

    def _append(self, path: Path, data: bytes) -> None:
        is_new = not path.exists()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            try:
                _write_all(descriptor, data)
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
        if is_new:
            sync(path.parent)

    def _write_image(self, name: str, data: bytes) -> Path:
        """Write one image and sync it to disk; return its folder, which must be synced too."""
        path = self._folder / name
        make_directory(path.parent)
        write_atomically(path, data, durability="file", sole_writer=True)
        return path.parent


def check_folder(folder: Path) -> None:
    """Check that a folder can be written.

    Raises:
        StorageError: When the folder can't be written.
    """
    with disk_errors(folder):
        make_directory(folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise StorageError(f"the folder {folder} is not writable", hint=f"ls -ld {folder}")


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _day(entry: Entry) -> str:
    return _render_day(int(entry.first_put_at // DAY_S))


@lru_cache(maxsize=8)
def _render_day(number: int) -> str:
    """Return the date of the day with this number, counted from 1970-01-01; cached for entries of the same day."""
    return datetime.fromtimestamp(number * DAY_S, UTC).strftime("%Y-%m-%d")


def _key(event: Event) -> Key:
    return event.source, event.id


def name_image(event: Event) -> str:
    """Return the path of an image within the folder, unique per event and safe for any attribute values."""
    site = event.source.split("/")[2]  # `find_forgery` has refused every other form of source
    stem = hashlib.sha256(f"{event.source}\0{event.id}".encode(errors="surrogatepass")).hexdigest()[:32]
    kind = (event.datacontenttype or "").partition(";")[0].strip().lower()
    return f"{IMAGES}/{site}/{stem}{suffix(kind) or '.img'}"


def _refer(event: Event, name: str) -> Event:
    return replace(event, data=b"", extensions={**event.extensions, "dataref": name})


def repair(path: Path) -> None:
    """Cut off an incomplete last line.

    Raises:
        OSError: When the file can't be read or written.
    """
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        if not size:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            end = view.rfind(b"\n") + 1
        if end < size:
            file.truncate(end)


def read_keys(path: Path, count: int) -> set[Key]:
    """Return the keys of the events in the last lines of a file.

    Args:
        path: Path of the file, which may be missing.
        count: Maximum number of lines to read.

    Raises:
        OSError: When the file can't be read.
    """
    try:
        if not path.stat().st_size:
            return set()
    except FileNotFoundError:
        return set()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return set(_iter_keys(view, count))


def _iter_keys(view: mmap.mmap, count: int) -> Iterator[Key]:
    end = view.rfind(b"\n")
    while end > 0 and count > 0:
        start = view.rfind(b"\n", 0, end) + 1
        try:
            line = json.loads(view[start:end])
            yield str(line["source"]), str(line["id"])
        except (ValueError, KeyError, TypeError, RecursionError):
            pass  # a line of another program; it is never mistaken for one of ours
        end = start - 1
        count -= 1
