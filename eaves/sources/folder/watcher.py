"""The kernel's notifications about a folder and everything below it (inotify, through watchdog)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

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


class KernelWatch:
    """Watches an existing folder until the folder is deleted.

    Args:
        root: Folder, or a symbolic link to one.
        notice: Called with a path below the folder and the seconds without a change after which that file counts as
            complete, 0 when its writer has closed it or moved it here.
        check: Called when the folder itself may be missing.

    Raises:
        OSError: When the kernel can't watch, for example because no watches are left (fs.inotify.max_user_watches).
    """

    def __init__(self, root: Path, notice: Callable[[str, float], None], check: Callable[[], None]) -> None:
        resolved = str(root.resolve())
        self._handler = _Handler(resolved, notice, check)
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
    def __init__(self, root: str, notice: Callable[[str, float], None], check: Callable[[], None]) -> None:
        self.root_deleted = False
        self._root, self._prefix = root, root.rstrip("/") + "/"
        self._notice, self._check = notice, check

    def on_any_event(self, event: FileSystemEvent) -> None:
        path = os.fsdecode(event.dest_path if isinstance(event, FileMovedEvent) else event.src_path)
        if isinstance(event, DirDeletedEvent):
            if path == self._root:
                self.root_deleted = True
                self._check()
        elif path.startswith(self._prefix):
            is_complete = isinstance(event, FileClosedEvent | FileMovedEvent)
            self._notice(path.removeprefix(self._prefix), 0.0 if is_complete else OPEN_S)
