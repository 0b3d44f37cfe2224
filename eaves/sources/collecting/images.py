"""Folder that images are collected in. A file's name contains the image's event id, which identifies known images."""

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
"""Number of characters of the event id in a file's name: 64 bits, which distinguish a million images."""
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
    """The images that were collected from one source; implements `eaves.sources.index.SentIndex`.

    Args:
        folder: Folder that images are written to; created when it is missing.
        labelled: Folder into which a person may have sorted collected images; these are not collected again.

    Raises:
        OSError: When a folder can't be created or listed.
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
        """Write the image of an event, with exactly its bytes; return False when it was collected before.

        Raises:
            SpoolError: When the image can't be written.
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
        """Return whether the image of this event was collected before, or left out by this process."""
        return event_id[:ID_LENGTH] in self._ids or event_id in self._left_out

    @property
    def added(self) -> int:
        """Number of images that this process has collected, or left out because of an option of the source."""
        return self._stored + len(self._left_out)

    def remember(self, source: str, event_ids: Collection[str]) -> None:
        """Leave out the images of these event ids while this process runs."""
        self._left_out.update(event_ids)

    def touch(self, source: str, event_ids: Collection[str]) -> int:
        """Return how many of the images were collected before.

        Unlike other implementations it marks nothing as needed, because this memory forgets nothing.
        """
        return sum(self.seen(source, event_id) for event_id in event_ids)

    def forget(self, before: float) -> int:
        """Do nothing: the collected files are the memory, and none is deleted."""
        return 0


def _moment(time: str | None) -> str:
    """Format a capture time for the beginning of a file name, so that files sort by time."""
    moment = datetime.fromisoformat(time).astimezone(UTC) if time else datetime.now(UTC)
    return moment.strftime("%Y%m%dT%H%M%S%f")[:18] + "Z"
