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
"""Time without a change after which a file that was opened counts as complete although nobody closed it, seconds. A new
hard link, for example, is never closed."""
JOIN_S = 5.0
"""Maximum time to wait for watchdog's threads to end, seconds."""
_EVENTS = [FileCreatedEvent, FileModifiedEvent, FileClosedEvent, FileMovedEvent, DirDeletedEvent]
"""Kinds of inotify notifications that are requested. Others are not, because the source's own opening and closing of
images would cause notifications."""


class FileListener(Protocol):
    """Receiver of notifications about files; the watch's own threads call it."""

    def notice(self, relative: str, *, wait_s: float) -> None:
        """Record that a file may be new or changed; it counts as complete after `wait_s` seconds without a change."""

    def check(self) -> None:
        """Record that the watched folder itself may be missing."""


class Watch(Protocol):
    """Active watch on a folder."""

    def alive(self) -> bool:
        """Return whether the watch still reports new files, as far as it knows."""

    def close(self) -> None:
        """Stop watching."""


Watcher = Callable[[Path, FileListener], Watch]
"""Function that starts a watch on a folder. It raises OSError when the kernel can't watch the folder."""


class KernelWatch:
    """Watches an existing folder until the folder is deleted.

    Args:
        root: Folder, or a symbolic link to one.
        listener: Gets the notifications.

    Raises:
        OSError: When the kernel can't watch, for example because no watches are left (fs.inotify.max_user_watches).
    """

    def __init__(self, root: Path, listener: FileListener) -> None:
        resolved = str(root.resolve())
        self._handler = _Handler(resolved, listener)
        # Full events report a file that comes from another folder as moved, not as created.
        self._observer = InotifyObserver(generate_full_events=True)
        self._observer.schedule(self._handler, resolved, recursive=True, event_filter=list(_EVENTS))
        try:
            self._observer.start()
        except OSError:
            self._observer.on_thread_stop()  # start has created a thread and a file descriptor before it failed
            raise

    def alive(self) -> bool:
        """Return whether the folder still exists and watchdog's threads are alive."""
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
        self._notify(event.src_path, wait_s=OPEN_S)

    def on_modified(self, event: FileSystemEvent) -> None:
        self._notify(event.src_path, wait_s=OPEN_S)

    def on_closed(self, event: FileSystemEvent) -> None:
        self._notify(event.src_path, wait_s=0.0)

    def on_moved(self, event: FileSystemEvent) -> None:
        self._notify(event.dest_path, wait_s=0.0)

    def on_deleted(self, event: FileSystemEvent) -> None:
        if os.fsdecode(event.src_path) == self._root:
            self.root_deleted = True
            self._listener.check()

    def _notify(self, path: bytes | str, *, wait_s: float) -> None:
        text = os.fsdecode(path)
        if text.startswith(self._prefix):
            self._listener.notice(text.removeprefix(self._prefix), wait_s=wait_s)
