"""Collection of training images from a source, with the options that later images for predictions also get.

No event is sent, and nothing but images is written into the folder. A file's name contains the image's event id, which
identifies known images.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from eaves import media_type
from eaves.base.files import write_atomically
from eaves.errors import SpoolError
from eaves.events import Event
from eaves.http_client.proxies import Proxies
from eaves.sources.agent.configuration import ConfiguredSource
from eaves.sources.agent.context import AgentContext
from eaves.sources.agent.counters import SourceCounters
from eaves.sources.agent.supervision import build_source, stop_sources
from eaves.sources.context import SentIndex
from eaves.sources.options import FrameOptions
from eaves.spool.settings import ATTRIBUTES_BYTES

ID_LENGTH = 16
"""Number of characters of the event id in a file's name: 64 bits, which distinguish a million images."""
_NAME = re.compile(rf".*-([0-9a-f]{{{ID_LENGTH}}})\.[a-z]+")


class NoIndex:
    """Implements `eaves.sources.context.SentIndex`: no image counts as sent before, and nothing is remembered."""

    added = 0

    def seen(self, source: str, event_id: str, *, options: bytes = b"") -> bool:
        """Return False."""
        return False

    def remember(self, source: str, event_ids: Collection[str], *, options: bytes = b"") -> None:
        """Do nothing."""

    def touch(self, source: str, event_ids: Collection[str]) -> int:
        """Mark nothing as needed."""
        return 0

    def forget(self, source: str, before: float) -> int:
        """Forget nothing."""
        return 0


class CollectedImages(NoIndex):
    """The images that were collected from one source; its memory are the collected files.

    Args:
        folder: Folder that images are written to; created when it is missing.
        labelled: Folder into which a person may have sorted collected images; these are not collected again.

    Attributes:
        folder: Folder that images are written to.

    Raises:
        OSError: When a folder can't be created or listed.
    """

    def __init__(self, folder: Path, labelled: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        names = (name for place in (folder, labelled) for _, _, files in os.walk(place) for name in files)
        self._ids = {match[1] for name in names if (match := _NAME.fullmatch(name))}
        self._left_out: set[str] = set()

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
        suffix = media_type.suffix(event.datacontenttype or media_type.sniff(event.data)) or ".bin"
        target = self.folder / f"{_moment(event.time)}-{identity}{suffix}"
        try:
            write_atomically(target, event.data, mode=None, sole_writer=True)
        except OSError as error:
            raise SpoolError(f"{target} can't be written: {error.strerror}", hint=f"df -h {self.folder}") from error
        self._ids.add(identity)
        return True

    def seen(self, source: str, event_id: str, *, options: bytes = b"") -> bool:
        """Return whether the image of this event was collected before, or left out by this process."""
        return event_id[:ID_LENGTH] in self._ids or event_id in self._left_out

    def remember(self, source: str, event_ids: Collection[str], *, options: bytes = b"") -> None:
        """Leave out the images of these event ids while this process runs."""
        self._left_out.update(event_ids)


def _moment(time: str | None) -> str:
    """Format a capture time for the beginning of a file name, so that files sort by time."""
    moment = datetime.fromisoformat(time).astimezone(UTC) if time else datetime.now(UTC)
    return moment.strftime("%Y%m%dT%H%M%S%f")[:18] + "Z"


TICK_S = 0.2
"""Interval between two calls of `watch`, seconds."""


def collect(
    configured: ConfiguredSource,
    images: CollectedImages,
    *,
    site: str,
    wanted: int,
    proxies: Proxies,
    watch: Callable[[SourceCounters], bool],
) -> None:
    """Collect images exactly as an agent would capture them.

    Args:
        configured: Source to run.
        images: Folder that the images are collected in.
        site: Name of the site, which is part of the images' ids.
        wanted: Total number of images to reach, including those of earlier calls.
        proxies: HTTP proxies of the process.
        watch: Called from time to time with the source's counters; it returns whether the collection is to end.
    """
    enough = threading.Event()

    def store(event: Event) -> bool:
        if len(images) >= wanted:
            return False
        stored = images.store(event)
        if len(images) >= wanted:
            enough.set()
        return stored

    if len(images) >= wanted:
        return
    with run_without_spool(configured, site=site, proxies=proxies, index=images, store=store) as context:
        while not enough.wait(TICK_S) and not watch(context.counters):
            pass
    watch(context.counters)


@contextmanager
def run_without_spool(
    configured: ConfiguredSource,
    *,
    site: str,
    proxies: Proxies,
    index: SentIndex,
    store: Callable[[Event], bool],
    options: FrameOptions | None = None,
) -> Iterator[AgentContext]:
    """Run a source in the block exactly as an agent would, with `options` in place of its own; nothing is sent."""
    source = build_source(
        configured,
        site=site,
        index=index,
        store=store,
        proxies=proxies,
        options=options,
        spool_max_bytes=configured.common.max_bytes + ATTRIBUTES_BYTES,
    )
    source.start()
    try:
        yield source.context
    finally:
        stop_sources([source])
