"""The folder that images are collected in. An image's event id is in its file's name, so nothing else is remembered."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from eaves import media_type
from eaves.base.files import write_atomically
from eaves.errors import SpoolError
from eaves.events import Event

ID_LENGTH = 16
"""Characters of an event's id in a file's name: 64 bits, with which two of a million images differ."""
_NAME = re.compile(rf".*-([0-9a-f]{{{ID_LENGTH}}})\.[a-z]+")
_SUFFIXES = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/bmp": "bmp",
    "image/tiff": "tif",
    "image/gif": "gif",
}


class CollectedImages:
    """Implements `eaves.sources.index.SentIndex`, for one source.

    Args:
        folder: Where images go; made when it isn't there.
        labelled: The folder that they may have been sorted into since; images in it aren't collected again.

    Raises:
        OSError: When a folder can't be made or listed.
    """

    def __init__(self, folder: Path, labelled: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        names = (name for place in (folder, labelled) for _, _, files in os.walk(place) for name in files)
        self._ids = {match[1] for name in names if (match := _NAME.fullmatch(name))}
        self._left_out: set[str] = set()
        self._stored = 0

    def __len__(self) -> int:
        return len(self._ids)

    def store(self, event: Event) -> bool:
        """Write the image of an event, exactly the bytes that the event holds; False when it was collected before.

        Raises:
            SpoolError: When it can't be written.
        """
        identity = event.id[:ID_LENGTH]
        if identity in self._ids:
            return False
        suffix = _SUFFIXES.get(event.datacontenttype or media_type.sniff(event.data), "bin")
        target = self._folder / f"{_moment(event.time)}-{identity}.{suffix}"
        try:
            write_atomically(target, event.data, durability="none", mode=None, sole_writer=True)
        except OSError as error:
            raise SpoolError(f"{target} can't be written: {error.strerror}", hint=f"df -h {self._folder}") from error
        self._ids.add(identity)
        self._stored += 1
        return True

    def seen(self, source: str, event_id: str) -> bool:
        """Whether the image of this event was collected before, or left out by this process."""
        return event_id[:ID_LENGTH] in self._ids or event_id in self._left_out

    @property
    def added(self) -> int:
        """Images that this process has collected or left out."""
        return self._stored + len(self._left_out)

    def remember(self, source: str, event_ids: Collection[str]) -> None:
        """Leave these images out for as long as the process runs."""
        self._left_out.update(event_ids)

    def touch(self, source: str, event_ids: Collection[str]) -> int:
        """How many of these images were collected; nothing is forgotten, so nothing is marked."""
        return sum(self.seen(source, event_id) for event_id in event_ids)

    def forget(self, before: float) -> int:
        """Forget nothing: what is in the folder is known."""
        return 0


def _moment(time: str | None) -> str:
    """A capture time as it sorts in a folder."""
    moment = datetime.fromisoformat(time).astimezone(UTC) if time else datetime.now(UTC)
    return moment.strftime("%Y%m%dT%H%M%S%f")[:18] + "Z"
