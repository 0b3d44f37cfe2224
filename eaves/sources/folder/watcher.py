"""The kernel's notifications about a folder and everything below it (inotify, through watchdog)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from watchdog.events import (
    DirDeletedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.inotify import InotifyObserver

OPEN_S = 5.0
"""Seconds that a file which somebody has opened may rest before it counts as complete without having been closed (a
hard link is never closed)."""
JOIN_S = 5.0
"""Longest wait for watchdog's threads to end, seconds."""
_EVENTS = [FileCreatedEvent, FileModifiedEvent, FileClosedEvent, FileMovedEvent, DirDeletedEvent]
"""Others aren't asked for: reading an image would tell us of our own opening and closing it."""


class FileListener(Protocol):
    """Is told about files. Called from the watch's own threads."""

    def notice(self, relative: str, *, wait_s: float) -> None:
        """A file may be new or changed; it counts as complete after `wait_s` seconds without a change."""

    def check(self) -> None:
        """The folder itself may be gone."""


class Watch(Protocol):
    """A folder that is being watched."""

    def alive(self) -> bool:
        """Whether it still tells about new files, as far as it knows."""

    def close(self) -> None:
        """Stop watching."""


Watcher = Callable[[Path, FileListener], Watch]
"""Starts to watch a folder. Raises OSError when the kernel can't."""


class KernelWatch:
    """Watches a folder that is there, until the folder is deleted.

    Args:
        root: The folder; may be a symbolic link to one.
        listener: Is told.

    Raises:
        OSError: When the kernel can't, for one because the user has no watches left (fs.inotify.max_user_watches).
    """

    def __init__(self, root: Path, listener: FileListener) -> None:
        resolved = str(root.resolve())
        self._handler = _Handler(resolved, listener)
        # Full events: a file that comes from another folder is told of as moved, not as created.
        self._observer = InotifyObserver(generate_full_events=True)
        self._observer.schedule(self._handler, resolved, recursive=True, event_filter=list(_EVENTS))
        try:
            self._observer.start()
        except OSError:
            self._observer.on_thread_stop()  # start has made a thread and a file descriptor before it failed
            raise

    def alive(self) -> bool:
        """Whether the folder was not deleted and watchdog's threads live."""
        threads = (self._observer, *self._observer.emitters)
        return not self._handler.root_deleted and all(thread.is_alive() for thread in threads)

    def close(self) -> None:
        """Stop watching."""
        self._observer.stop()
        with contextlib.suppress(RuntimeError):
            self._observer.join(JOIN_S)


class _Handler(FileSystemEventHandler):
    def __init__(self, root: str, listener: FileListener) -> None:
        self.root_deleted = False
        self._root = root
        self._prefix = root.rstrip("/") + "/"
        self._listener = listener

    def on_created(self, event: FileSystemEvent) -> None:
        self._tell(event.src_path, wait_s=OPEN_S)

    def on_modified(self, event: FileSystemEvent) -> None:
        self._tell(event.src_path, wait_s=OPEN_S)

    def on_closed(self, event: FileSystemEvent) -> None:
        self._tell(event.src_path, wait_s=0.0)

    def on_moved(self, event: FileSystemEvent) -> None:
        self._tell(event.dest_path, wait_s=0.0)

    def on_deleted(self, event: FileSystemEvent) -> None:
        if os.fsdecode(event.src_path) == self._root:
            self.root_deleted = True
            self._listener.check()

    def _tell(self, path: bytes | str, *, wait_s: float) -> None:
        text = os.fsdecode(path)
        if text.startswith(self._prefix):
            self._listener.notice(text.removeprefix(self._prefix), wait_s=wait_s)
