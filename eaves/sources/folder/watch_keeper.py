"""Keeps an inotify watch on the folder at a path, also when the folder is replaced by another one."""

from __future__ import annotations

import logging
from pathlib import Path

from eaves.base.clock import Clock
from eaves.sources.folder.reader import identify
from eaves.sources.folder.watcher import FileListener, Watch, Watcher

REWATCH_S = 10.0
"""Minimum time between two starts of the watch on the same folder, seconds."""

_log = logging.getLogger(__name__)


class WatchKeeper:
    """Starts the kernel's watch on a folder, and starts it again when it has ended. For one thread only.

    A folder that was deleted and recreated, or on which a disk was mounted, is another folder under the same path. The
    watch on the old folder then gives no more notifications.

    Args:
        root: Folder to watch.
        watcher: Starts the kernel's notifications; None when the folder is polled.
        listener: Gets the notifications about files.
        clock: Wall clock and monotonic clock.
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
        """Whether the kernel notifies about files; otherwise the folder must be polled."""
        return self._watch is not None

    def ensure(self) -> bool:
        """Make sure that the folder now at the path is watched.

        Returns:
            Whether files may have been missed since the last call.

        Raises:
            StorageError: When the folder doesn't exist.
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
                _log.warning(
                    "the kernel can't watch %s (%s); the folder is scanned regularly instead", self._root, error
                )
        self._folder, self._watched_at = folder, now
        return missed

    def distrust(self) -> None:
        """Restart the watch at the next `ensure`, because a scan has found files that the watch did not report."""
        self._deaf = self._watch is not None

    def close(self) -> None:
        """Stop the watch."""
        watch, self._watch, self._folder, self._deaf = self._watch, None, None, False
        if watch is not None:
            watch.close()
