"""Reading of new events from the history file that `eaves up` writes; restarts of `eaves up` lose none."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path

from eaves.cli.live.event_filter import matches_type
from eaves.history import KEEP, HistoryReader, Record, RecordFilter

BATCH = 500
"""Maximum number of records that are read at a time, so that memory stays small however many events there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvents:
    """The events that were added to a history file since it was last read.

    Attributes:
        records: Events of the wanted type, oldest first; at most `BATCH` of them.
        missed: Events of any type that the history deleted before they were read.
        is_more: Whether the history holds further new events.
    """

    records: list[Record]
    missed: int = 0
    is_more: bool = False


class EventStream:
    """Reads each event of a history once, in order of arrival.

    A history that is replaced, because it was damaged or its directory was deleted, is read from its beginning.

    Args:
        path: Path of the history file, which may not exist yet.
        wanted: Event type, as `matches_type` takes it.
    """

    def __init__(self, path: Path, wanted: str = "") -> None:
        self._path = path
        self._wanted = wanted
        self._after = 0
        self._identity = _identify(path)

    def read_newest(self, count: int) -> list[Record]:
        """Return the newest past events, oldest first; `read_new` continues after them.

        Raises:
            PlatformError: When the file can't be read.
        """
        limit = KEEP if self._wanted else max(count, 1)
        records = HistoryReader(self._path).find(RecordFilter(), limit=limit)[::-1]
        if records:
            self._after = records[-1].seq
        kept = deque((one for one in records if matches_type(one.type, self._wanted)), maxlen=count)
        return list(kept)

    def read_new(self) -> NewEvents:
        """Return the events that the history has gained since the last call.

        Raises:
            PlatformError: When the file can't be read.
        """
        identity = _identify(self._path)
        if identity is None:
            self._identity, self._after = None, 0  # a new file may get the number of the old one
            return NewEvents(records=[])
        if identity != self._identity:
            self._identity, self._after = identity, 0
        found = HistoryReader(self._path).next(after=self._after, limit=BATCH)
        if not found:
            return NewEvents(records=[])
        missed = found[0].seq - self._after - 1
        self._after = found[-1].seq
        kept = [one for one in found if matches_type(one.type, self._wanted)]
        return NewEvents(records=kept, missed=missed, is_more=len(found) == BATCH)


def _identify(path: Path) -> tuple[int, int] | None:
    """Return device and inode of a file; None when the file doesn't exist."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
