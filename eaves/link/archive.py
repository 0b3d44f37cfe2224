"""Archive of received events in a folder, as files such as `events-2026-11-25.jsonl` and `images/SITE/NAME.jpg`.

Each line is a CloudEvent in JSON. The bytes of an image, and what a site sends for `eaves federate`, are in files of
their own, whose path within the folder is the line's `dataref`. The file of a line is that of the UTC day on which the
event was received, so it doesn't depend on when the line is written.
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
from eaves.delivery.dataset_sink import keep_image
from eaves.delivery.response_rules import NO_ANSWER, Blame
from eaves.errors import StorageError
from eaves.event_batch import encode_event
from eaves.events import CHOSEN, DATAREF, Event
from eaves.federation_events import name_file
from eaves.labels import LabelBook
from eaves.media_type import is_readable, suffix
from eaves.spool import Entry

BATCH, BATCH_BYTES = 500, 8_000_000
"""Maximum number of entries, and of their bytes, that are written and released together."""
DAY_S = 86_400

Key = tuple[str, str]
"""source and id of an event."""


class Archive(Sender):
    """Delivers entries by writing them into a folder; it refuses none. For one thread of one process.

    Args:
        folder: Folder of the files; created when it is missing.
        dataset: Folder of labelled images that chosen ones are put into, too; None for none.

    Raises:
        StorageError: When the folder can't be created or written.
    """

    def __init__(self, folder: Path, dataset: Path | None = None) -> None:
        self._folder = folder
        self._book = LabelBook(dataset) if dataset is not None else None
        self._written: dict[str, set[Key]] = {}
        """Keys of the events of the last `write` by day; after a kill or an error they are read from the day's file."""
        with disk_errors(folder):
            make_directory(folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise StorageError(f"the folder {folder} is not writable", hint=f"ls -ld {folder}")

    def limits(self, lane: str) -> tuple[int, int]:
        """Return the maximum number of entries and of bytes that are written together."""
        return BATCH, BATCH_BYTES

    def send(self, lane: str, entries: Sequence[Entry]) -> Sequence[AttemptResult]:
        """Write entries; after an error the same entries come again, since none was set aside."""
        try:
            self.write(entries)
        except StorageError as error:
            return [AttemptResult(status=NO_ANSWER, blame=Blame.WAY, reason=error.message, reached=False)]
        return [AttemptResult()] * len(entries)

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
                days.setdefault(_render_day(int(entry.first_put_at // DAY_S)), []).append(entry.event)
            before, self._written = self._written, {}
            for day, events in days.items():
                path = self._folder / f"events-{day}.jsonl"
                known = before[day] if day in before else _open_file(path)
                if new := [event for event in events if _key(event) not in known]:
                    self._append(path, new)
                self._written[day] = {_key(event) for event in events}

    def _append(self, path: Path, events: Sequence[Event]) -> None:
        """Write the files of events, then one line for each event, all of which are on disk when this returns."""
        folders, lines = set(), []
        for event in events:
            name = name_image(event) if event.is_image else name_file(event)
            if event.data and name:
                chosen = event.is_image and CHOSEN in event.extensions
                if self._book is not None and chosen and is_readable(event.data):
                    keep_image(self._book, event)
                file = self._folder / name
                make_directory(file.parent)
                write_atomically(file, event.data, durability="file", sole_writer=True)
                folders.add(file.parent)
                dataref = {DATAREF: name}
                event = replace(event, data=b"", extensions={**event.extensions, **dataref})  # noqa: PLW2901 - in a file now
            lines.append(encode_event(event) + b"\n")
        for folder in folders:
            sync(folder)
        is_new = not path.exists()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab", buffering=0) as stream:
            size, left = stream.tell(), memoryview(b"".join(lines))
            try:
                while left:
                    left = left[stream.write(left) :]
                os.fsync(stream.fileno())
            except OSError:
                stream.truncate(size)
                raise
        if is_new:
            sync(path.parent)


def name_image(event: Event) -> str:
    """Return the path of an image within the folder, unique per event and safe for any attribute values."""
    site = event.source.split("/")[2]  # `find_forgery` has refused every other form of source
    stem = hashlib.sha256(f"{event.source}\0{event.id}".encode(errors="surrogatepass")).hexdigest()[:32]
    kind = (event.datacontenttype or "").partition(";")[0].strip().lower()
    return f"images/{site}/{stem}{suffix(kind) or '.img'}"


def _key(event: Event) -> Key:
    return event.source, event.id


@lru_cache(maxsize=8)
def _render_day(number: int) -> str:
    """Return the date of the day with this number, counted from 1970-01-01; cached for entries of the same day."""
    return datetime.fromtimestamp(number * DAY_S, UTC).strftime("%Y-%m-%d")


def _open_file(path: Path) -> set[Key]:
    """Cut off an incomplete last line of a day's file, and return the keys of as many last lines as a batch has.

    Raises:
        OSError: When the file can't be read or written.
    """
    if not (path.exists() and path.stat().st_size):
        return set()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        keys, size = set(_iter_keys(view)), view.rfind(b"\n") + 1
    os.truncate(path, size)
    return keys


def _iter_keys(view: mmap.mmap) -> Iterator[Key]:
    end, count = view.rfind(b"\n"), BATCH
    while end > 0 and count > 0:
        start = view.rfind(b"\n", 0, end) + 1
        try:
            line = json.loads(view[start:end])
            yield str(line["source"]), str(line["id"])
        except (ValueError, KeyError, TypeError, RecursionError):
            pass  # a line of another program; it is never mistaken for one of ours
        end, count = start - 1, count - 1
