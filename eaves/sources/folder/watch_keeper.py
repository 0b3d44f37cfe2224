"""Keeps a watch on the folder that is there now, whichever that is."""

from __future__ import annotations

import logging
from pathlib import Path

from eaves.base.clock import Clock
from eaves.sources.folder.reader import identify
from eaves.sources.folder.watcher import FileListener, Watch, Watcher

REWATCH_S = 10.0
"""Least time between two starts of a watch on the same folder, seconds."""

_log = logging.getLogger(__name__)


class WatchKeeper:
    """Starts the watch, and starts it again when it has ended. For one thread.

    A folder that was deleted and made anew, or on which a disk was mounted, is another folder under the same path: the
    watch on the old one tells nothing any more.

    Args:
        root: The folder.
        watcher: How the kernel is asked to watch; None when the folder is polled.
        listener: Is told about files.
        clock: Time.
    """

    def __init__(self, root: Path, watcher: Watcher | None, listener: FileListener, clock: Clock) -> None:
        self._root = root
        self._watcher = watcher
        self._listener = listener
        self._clock = clock
        self._folder: tuple[int, int] | None = None
        self._watch: Watch | None = None
        self._watched_at = float("-inf")
        self._deaf = False

    @property
    def watching(self) -> bool:
        """Whether the kernel tells about files; otherwise the folder has to be polled."""
        return self._watch is not None

    def ensure(self) -> bool:
        """Watch the folder that is there now; True when files may have been missed since the last call.

        Raises:
            StorageError: When there is no folder.
        """
        folder, now = identify(self._root), self._clock.monotonic()
        other = folder != self._folder
        if not other:
            if self._watch is None or now < self._watched_at + REWATCH_S:
                return False
            if self._watch.alive() and not self._deaf:
                return False
        missed = other or not self._deaf
        self.close()
        if self._watcher is not None:
            try:
                self._watch = self._watcher(self._root, self._listener)
            except OSError as error:
                _log.warning("the kernel can't watch %s (%s); it is polled", self._root, error)
        self._folder, self._watched_at = folder, now
        return missed

    def distrust(self) -> None:
        """A scan has found files that the watch should have told about: start it again."""
        self._deaf = self._watch is not None

    def close(self) -> None:
        """End the watch."""
        watch, self._watch, self._folder, self._deaf = self._watch, None, None, False
        if watch is not None:
            watch.close()
