"""The folder source: every image file that is complete becomes one event.

A file is complete when its writer closes it or moves it here (the kernel tells), or when size and time haven't
changed for `settle_s` (polling, files found at the start, writers elsewhere on a network folder). Position: path,
mtime and size, so a changed file is a new image and a file found again is not. Hidden files, links and other suffixes
are left alone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.polling import PollingObserver

from eaves import media
from eaves.errors import ConfigError, Fault, SpoolError
from eaves.events import Event, event_id, source_uri
from eaves.sources.files import build_capture, build_subject, position
from eaves.sources.settings import AgentSettings

TICK_S = 0.2
RESCAN_S = 60.0
"""The kernel drops notifications when its queue overflows; looking again finds what it didn't tell."""
OPEN_S = 5.0
"""How long a file that somebody has opened may rest before it counts as complete without having been closed (a hard
link is never closed)."""
FULL_PAUSE_S = 1.0
UNREADABLE_PAUSE_S = 10.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Look:
    """A file as it looked.

    Attributes:
        size_bytes: Its size.
        mtime_ns: Its modification time.
        due: When it counts as complete unless it changes before, monotonic seconds.
        closed: Whether its writer has closed it or moved it here.
    """

    size_bytes: int
    mtime_ns: int
    due: float
    closed: bool

    @property
    def position(self) -> tuple[int, int]:
        """What tells one content of a path from another."""
        return self.mtime_ns, self.size_bytes


class FolderSource:
    """Watches one folder.

    Args:
        settings: The agent's.
        known: Whether an event id of this source was emitted in an earlier life.
        emit: Takes each event; when it returns the event is safe. May raise SpoolError: the file is tried again.

    Raises:
        ConfigError: When there is no such folder.
    """

    def __init__(
        self, settings: AgentSettings, *, known: Callable[[str, str], bool], emit: Callable[[Event], object]
    ) -> None:
        if not settings.path.is_dir():
            fault = Fault(origin="source", path="path", message=f"{settings.path} is not a folder")
            raise ConfigError([fault], hint=f"mkdir -p {settings.path}")
        self._settings = settings
        self._root = settings.path.resolve()
        self._source = source_uri(settings.site, settings.source)
        self._known = known
        self._emit = emit
        self._candidates: dict[Path, Look] = {}
        self._done: dict[Path, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def run(self, stop: threading.Event) -> None:
        """Watch and emit until told to stop."""
        observer = self._observe()
        try:
            scanned = float("-inf")
            while not stop.is_set():
                if time.monotonic() - scanned > RESCAN_S:
                    scanned = time.monotonic()
                    self._scan()
                self._emit_complete(stop)
                stop.wait(TICK_S)
        finally:
            observer.stop()
            observer.join()

    def notice(self, path: Path, *, wait_s: float) -> None:
        """A file may be new or changed; it counts as complete after `wait_s` seconds without a change.

        Of several waits for one look the longest counts, as who looks into the folder doesn't know what is still open;
        but none counts once it was closed (0).
        """
        if path.suffix.lower() not in media.SUFFIXES or any(
            part.startswith(".") for part in path.relative_to(self._root).parts
        ):
            return
        try:
            if path.is_symlink() or not path.is_file():
                return
            status = path.stat()
        except OSError:
            return  # gone again
        look = Look(status.st_size, status.st_mtime_ns, time.monotonic() + wait_s, wait_s == 0)
        with self._lock:
            before = self._candidates.get(path)
            same = before is not None and before.position == look.position
            if before is not None and same and (before.closed or (before.due >= look.due and not look.closed)):
                return
            if self._done.get(path) != look.position:
                self._candidates[path] = look

    def _observe(self) -> Any:
        kinds = [PollingObserver] if self._settings.polling else [Observer, PollingObserver]
        for kind in kinds:
            observer = kind(timeout=1.0)
            open_s = OPEN_S if kind is Observer else self._settings.settle_s
            observer.schedule(_Handler(self, open_s=open_s), str(self._root), recursive=True)
            try:
                observer.start()
            except OSError as error:
                # inotify has a limit of watches per user (fs.inotify.max_user_watches).
                _log.warning("the kernel can't watch %s (%s); polling every second instead", self._root, error)
                continue
            return observer
        raise ConfigError([Fault(origin="source", path="path", message=f"{self._root} can't be watched")])

    def _scan(self) -> None:
        for path in sorted(self._root.rglob("*")):
            self.notice(path, wait_s=self._settings.settle_s)

    def _emit_complete(self, stop: threading.Event) -> None:
        with self._lock:
            waiting = sorted(self._candidates.items(), key=lambda item: (item[1].mtime_ns, item[0]))
        for path, look in waiting:
            if stop.is_set():
                return
            if time.monotonic() < look.due:
                continue
            try:
                self._take(path, look)
            except SpoolError as error:
                _log.error("waiting, nothing is lost: %s", error.message)
                stop.wait(FULL_PAUSE_S)
                return

    def _take(self, path: Path, look: Look) -> None:
        """Emit one file, unless it changed meanwhile or was emitted before."""
        relative = path.relative_to(self._root)
        where = relative.as_posix()
        identity = event_id(self._source, position(where, mtime_ns=look.mtime_ns, size_bytes=look.size_bytes))
        try:
            if not self._known(self._source, identity) and self._fits(path, look):
                data = path.read_bytes()
                status = path.stat()
                if (status.st_mtime_ns, status.st_size) != look.position:
                    self._drop(path, look)
                    return self.notice(path, wait_s=self._settings.settle_s)
                camera = build_subject(Path(relative.parts[0])) if len(relative.parts) > 1 else self._settings.source
                event = build_capture(
                    source=self._source,
                    identity=identity,
                    subject=build_subject(relative),
                    mtime_ns=look.mtime_ns,
                    data=data,
                    camera=camera,
                )
                self._emit(event)
                _log.info("captured %s", path.name, extra={"event_id": identity})
        except FileNotFoundError:
            pass  # removed before it was read
        except OSError as error:
            _log.error("can't read %s (%s); trying again", path, error.strerror)
            self._drop(path, look)
            return self.notice(path, wait_s=UNREADABLE_PAUSE_S)
        with self._lock:
            self._done[path] = look.position
        self._drop(path, look)
        return None

    def _fits(self, path: Path, look: Look) -> bool:
        if look.size_bytes == 0:
            return False  # just made: it counts once it holds something
        if look.size_bytes > self._settings.max_bytes:
            _log.error("skipped %s: %d bytes, more than %d", path, look.size_bytes, self._settings.max_bytes)
            return False
        return True

    def _drop(self, path: Path, look: Look) -> None:
        with self._lock:
            if self._candidates.get(path) == look:
                del self._candidates[path]


class _Handler(FileSystemEventHandler):
    def __init__(self, source: FolderSource, *, open_s: float) -> None:
        self._source = source
        self._open_s = open_s

    def on_created(self, event: FileSystemEvent) -> None:
        self._tell(event.src_path, wait_s=self._open_s)

    def on_modified(self, event: FileSystemEvent) -> None:
        self._tell(event.src_path, wait_s=self._open_s)

    def on_closed(self, event: FileSystemEvent) -> None:
        self._tell(event.src_path, wait_s=0.0)

    def on_moved(self, event: FileSystemEvent) -> None:
        self._tell(event.dest_path, wait_s=0.0)

    def _tell(self, path: bytes | str, *, wait_s: float) -> None:
        self._source.notice(Path(str(path)), wait_s=wait_s)
