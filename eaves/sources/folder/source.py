"""The folder source: wait for the folder, watch it, scan it, capture complete files.

A file is complete when its writer closes it or moves it here (the kernel notifies), or when size and modification time
haven't changed for `settle_s` (polling, files found by a scan, remote writers on a network folder). An image's position
is path, modification time and size, so a changed file is a new image and a file that is found again is not. Empty and
hidden files, links and files with other suffixes are ignored.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eaves.config import setting
from eaves.errors import ImageTooLargeError, SpoolError, StorageError
from eaves.events import event_id
from eaves.media_type import is_image_path
from eaves.sources.context import Frame, SourceContext
from eaves.sources.files import build_subject, position
from eaves.sources.folder.reader import FileVersion, find_version, identify, read_file, scan
from eaves.sources.kind import SourceKind, explain_empty
from eaves.sources.retry import LOCAL_RETRY, UNSUPPORTED, repeat
from eaves.sources.sent_images import SentImages

if TYPE_CHECKING:
    from eaves.sources.folder.watcher import KernelWatch

RESCAN_S = 60.0
"""Interval between two scans although the kernel notifies about files, seconds. The kernel drops notifications when its
queue overflows."""
SCAN_SHARE = 10.0
"""Minimum pause after a scan as a multiple of the scan's duration, so that scans take at most a tenth of a CPU."""
SCAN_SLICE = 1_000
"""Number of files that a scan handles before the source captures files that are complete."""
CHECK_S = 5.0
"""Interval between two checks whether the path still leads to the folder that is watched, seconds."""
CLOSED_S = 0.2
"""Delay before a file that its writer closed counts as complete, seconds. `shutil.copy2`, Python's tarfile and busybox'
tar set the file's time by name after closing it, and a file with a new time is another image with another id."""
OVERWRITTEN_S = 1.0
"""Maximum time for which a file that is closed, overwritten and closed again waits to stay unchanged, seconds."""
CHANGED_S = 1.0
"""Minimum time before a file that changed while it was read is read again, seconds."""
MAX_CANDIDATES = 10_000
"""Maximum number of files that wait until they are complete, which take about 4 MB of memory. A later scan of the
folder finds files for which there is no room now."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSourceSettings:
    """Settings of a watched folder."""

    path: Path = setting(Path("/images"), "Folder to watch, including all its subfolders.")
    polling: bool = setting(
        False,
        "Scan the folder every `poll_s` instead of using the kernel's file "
        "notifications. NFS and other network folders need this.",
    )
    poll_s: float = setting(
        1.0,
        "Seconds between two scans when polling. The pause after a scan is at least ten times "
        "the duration of the scan, so that a large folder takes at most a tenth of a core.",
        minimum=0.01,
        maximum=3600,
    )
    settle_s: float = setting(
        2.0,
        "Seconds that a file must stay unchanged before it is captured, if no "
        "notification says that its writer closed it.",
        minimum=0,
        maximum=600,
    )
    max_files: int = setting(
        1_000_000,
        "Number of images in the folder at which capture is paused until some are removed, "
        "because the spool could not remember all that were sent. It remembers twice as many, "
        "about 60 bytes each: the default takes up to 120 MB of disk.",
        minimum=1,
    )


@dataclass(frozen=True, slots=True)
class WaitingFile:
    """A file that was noticed and may still be incomplete.

    Attributes:
        version: Its version.
        due_s: Monotonic time at which it counts as complete unless it changes before, seconds.
        closed_s: Monotonic time at which a writer closed it first, seconds; infinite when none has.
    """

    version: FileVersion
    due_s: float
    closed_s: float


class FolderSource:
    """Watches one folder.

    Args:
        settings: Folder to watch, and how.
        context: Interface to the agent.
        watcher: Starts the kernel's notifications, unless `settings.polling` is set; None for inotify.
    """

    def __init__(
        self, settings: FolderSourceSettings, context: SourceContext, *, watcher: type[KernelWatch] | None = None
    ) -> None:
        self._settings = settings
        self._root = settings.path
        self._context = context
        self._clock = context.clock
        self._sent = SentImages(context, max_present=settings.max_files)
        self._watcher = watcher
        self._watch: KernelWatch | None = None
        self._folder: tuple[int, int] | None = None
        self._soonest_scan_at = float("-inf")
        # State that other threads change too, guarded by the lock of `_changed`:
        self._changed = threading.Condition()
        self._candidates: dict[str, WaitingFile] = {}
        self._next_scan_at = float("-inf")
        self._wake_at = float("-inf")
        self._check = False

    def notice(self, relative: str, wait_s: float) -> None:
        """Record that a file may be new or changed; it counts as complete after `wait_s` seconds without a change.

        Args:
            relative: Path of the file below the folder.
            wait_s: Time without a change, seconds; 0 when the writer has closed the file or moved it here.
        """
        if not is_image_path(relative):
            return
        try:
            version = find_version(self._root, relative)
        except StorageError:
            self.check()
            return
        if version is not None and version.size_bytes > 0:  # an empty file was only just created
            self._add(relative, version, wait_s=wait_s)

    def check(self) -> None:
        """Check at the next step whether the folder still exists."""
        with self._changed:
            self._check = True
            self._changed.notify_all()

    def run(self) -> None:
        """Watch and capture until the agent stops. Waits for a folder that is missing and for a spool that is full."""
        with self._context.on_stop(self._wake):
            try:
                repeat(self._context, self._step, (StorageError,), retry=LOCAL_RETRY)
            finally:
                self._close_watch()

    def _step(self) -> float:
        try:
            self._ensure_watch()
            self._scan()
            self._capture_complete()
        except StorageError as error:
            self._close_watch()
            raise StorageError(f"{error.message}; capture is paused until it can be opened", hint=error.hint) from error
        self._context.report("watching")
        self._wait()
        return 0.0

    def _ensure_watch(self) -> None:
        """Make sure that the folder now at the path is watched, and scan it when files may have been missed.

        A folder that was deleted and recreated, or on which a disk was mounted, is another folder under the same path.
        """
        folder = identify(self._root)
        if folder == self._folder and (self._watch is None or self._watch.alive()):
            return
        self._close_watch()
        if not self._settings.polling:
            from eaves.sources.folder.watcher import KernelWatch  # settings are read where watchdog isn't installed

            try:
                self._watch = (self._watcher or KernelWatch)(self._root, self.notice, self.check)
            except OSError as error:
                _log.warning(
                    "the kernel can't watch %s (%s); the folder is scanned regularly instead", self._root, error
                )
        self._folder = folder
        with self._changed:
            self._next_scan_at = self._soonest_scan_at = float("-inf")

    def _close_watch(self) -> None:
        watch, self._watch, self._folder = self._watch, None, None
        if watch is not None:
            watch.close()

    def _scan(self) -> None:
        """Look at all files, if a scan is due; files that are complete are captured meanwhile."""
        began = self._clock.monotonic()
        if self._find_next_scan() > began:
            return
        with self._changed:
            self._next_scan_at = float("inf")
        self._sent.begin_scan()
        length_s, ended = 0.0, False
        try:
            found = scan(self._root, self._report_folder, self._report_unsupported)
            for number, (relative, version) in enumerate(found, 1):
                if number % SCAN_SLICE == 0 or self._is_full:
                    length_s += self._clock.monotonic() - began
                    self._wait_for_room()
                    began = self._clock.monotonic()
                if self._context.stopping:
                    return
                self._check_file(relative, version)
            self._sent.end_scan()
            ended = True
        finally:
            if not ended:
                self._sent.abort_scan()
                with self._changed:
                    self._next_scan_at = float("-inf")
        now = self._clock.monotonic()
        self._soonest_scan_at = now + SCAN_SHARE * (length_s + now - began)
        pause_s = RESCAN_S if self._watch is not None else self._settings.poll_s
        with self._changed:
            self._next_scan_at = min(self._next_scan_at, max(now + pause_s, self._soonest_scan_at))

    def _wait_for_room(self) -> None:
        """Capture what is complete, within a scan, until another file may wait."""
        while True:
            self._capture_complete()
            if not self._is_full or self._context.stopping:
                return
            self._wait()

    def _check_file(self, relative: str, version: FileVersion) -> None:
        """Queue a file that a scan has found for capture, unless it is empty, was sent, or waits already."""
        identity = self._identify(relative, version)
        self._sent.find(identity)
        candidate = self._candidates.get(relative)
        waiting = candidate is not None and candidate.version == version
        if not waiting and version.size_bytes > 0 and identity not in self._sent:
            self._add(relative, version, wait_s=self._settings.settle_s)

    @property
    def _is_full(self) -> bool:
        """Whether there is no room for another file that waits."""
        return len(self._candidates) >= MAX_CANDIDATES

    def _find_next_scan(self) -> float:
        """Return the time of the next scan, monotonic seconds: not sooner than the last one allows."""
        return float("inf") if self._is_full else max(self._next_scan_at, self._soonest_scan_at)

    def _capture_complete(self) -> None:
        """Capture the files that count as complete, in the order of their modification times."""
        now = self._clock.monotonic()
        with self._changed:
            due = [(name, candidate) for name, candidate in self._candidates.items() if candidate.due_s <= now]
        for relative, candidate in sorted(due, key=lambda item: (item[1].version.mtime_ns, item[0])):
            if self._context.stopping:
                break
            if self._sent.full:
                raise SpoolError(f"folder {self._root} contains max_files images ({self._settings.max_files})")
            changed = not self._capture(relative, candidate.version)
            with self._changed:
                if self._candidates.get(relative) == candidate:  # else it was noticed again meanwhile
                    del self._candidates[relative]
            if changed:
                self.notice(relative, max(self._settings.settle_s, CHANGED_S))
        self._sent.save()

    def _capture(self, relative: str, version: FileVersion) -> bool:
        """Pass a file to the agent unless it was sent; return False when it has changed since it was noticed.

        Raises:
            StorageError: When the folder itself is missing.
            SpoolError: When the spool doesn't take the event now.
        """
        identity, largest = self._identify(relative, version), self._context.max_bytes

        def read() -> Frame | None:
            if version.size_bytes > largest:
                raise ImageTooLargeError(f"it has {version.size_bytes} bytes, more than {largest}")
            data = read_file(self._root, relative, version)
            return None if data is None else _build_frame(relative, version, data)

        return identity in self._sent or self._sent.capture(identity, build_subject(Path(relative))[:256], read)

    def _identify(self, relative: str, version: FileVersion) -> str:
        """Return the id of the event that one version of a file becomes."""
        return event_id(self._context.source, _position(relative, version))

    def _report_folder(self, relative: str, error: OSError) -> None:
        name = build_subject(Path(relative))[:256]
        reason = f"folder {name} can't be listed ({error.strerror}); the source tries again"
        self._context.drop("unreadable", reason=reason, key=f"{relative}/")

    def _report_unsupported(self, relative: str) -> None:
        name = build_subject(Path(relative))[:256]
        self._context.drop("unsupported", reason=f"{name}: {UNSUPPORTED}", key=f"{relative}//")

    def _add(self, relative: str, version: FileVersion, *, wait_s: float) -> None:
        """Add a file that waits until it is complete.

        When the same version of a file is added several times, the longest wait counts, because the file may still be
        open, until its writer has closed it. A file that is overwritten again and again, such as a camera's
        `latest.jpg`, doesn't wait any longer than `OVERWRITTEN_S`: then the version that was just closed is captured.
        """
        now = self._clock.monotonic()
        due, closed_s = now + (wait_s or CLOSED_S), float("inf") if wait_s else now
        with self._changed:
            before = self._candidates.get(relative)
            if before is None and self._is_full:
                self._next_scan_at = float("-inf")
                return
            if before is not None:
                closed_s = min(closed_s, before.closed_s)
                if wait_s and before.version == version:
                    due = max(due, before.due_s)
            if not wait_s and now - closed_s >= OVERWRITTEN_S:
                due = now
            self._candidates[relative] = WaitingFile(version, due, closed_s)
            if due < self._wake_at:
                self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _wait(self) -> None:
        """Wait until a file is complete, a scan is due, or the folder must be checked."""
        check_at = self._clock.monotonic() + (CHECK_S if self._watch is not None else RESCAN_S)
        with self._changed:
            while not self._context.stopping and not self._check:
                due = min((candidate.due_s for candidate in self._candidates.values()), default=float("inf"))
                self._wake_at = min(due, self._find_next_scan(), check_at)
                left_s = self._wake_at - self._clock.monotonic()
                if left_s <= 0:
                    break
                self._clock.wait(self._changed, left_s)
            self._check, self._wake_at = False, float("-inf")


def _position(relative: str, version: FileVersion) -> str:
    return position(relative, mtime_ns=version.mtime_ns, size_bytes=version.size_bytes)


def _build_frame(relative: str, version: FileVersion, data: bytes) -> Frame:
    first, deeper, _ = relative.partition("/")
    return Frame(
        data=data,
        position=_position(relative, version),
        subject=build_subject(Path(relative)),
        captured_at_ns=version.mtime_ns,
        camera=build_subject(Path(first)) if deeper else "",
    )


KIND = SourceKind(
    settings=FolderSourceSettings,
    run=lambda settings, context: FolderSource(settings, context).run(),
    runs_as=("claim", "node"),
    remembers=lambda settings: settings.max_files,
    parse_place=lambda text: {"path": str(Path(text).absolute())} if Path(text).is_dir() else None,
    idle_s=lambda settings: 1.0 + settings.settle_s,
    explain=lambda settings, failed: explain_empty(failed, f"folder {settings.path}"),
)
