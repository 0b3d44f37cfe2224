"""Main loop of the folder source: wait for the folder, watch it, scan it, capture complete files.

A file is complete when its writer closes it or moves it here (the kernel notifies), or when size and modification time
haven't changed for `settle_s` (polling, files found by a scan, remote writers on a network folder). An image's position
is path, modification time and size, so a changed file is a new image and a file that is found again is not. Empty and
hidden files, links and files with other suffixes are ignored.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

from eaves.base.backoff import Backoff
from eaves.errors import SpoolError, StorageError
from eaves.events import event_id
from eaves.media_type import is_image_path
from eaves.sources.context import SourceContext
from eaves.sources.faults import ImageFaults, capture_when_possible, explain_refusal
from eaves.sources.files import build_subject, position
from eaves.sources.folder.kind import FolderSourceSettings
from eaves.sources.folder.reader import FileVersion, find_version, identify, read_file, scan
from eaves.sources.folder.watcher import KernelWatch
from eaves.sources.frame import Frame, Outcome
from eaves.sources.sent_images import SentImages

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
CHANGED_S = 1.0
"""Minimum time before a file that changed while it was read is read again, seconds."""
RETRY = Backoff(retry=None, first_s=0.5, cap_s=10.0)
"""Pauses between attempts to find a missing folder, and to read or write the memory of sent images."""
MAX_CANDIDATES = 10_000
"""Maximum number of files that wait until they are complete, which take about 4 MB of memory. A later scan of the
folder finds files for which there is no room now."""

_log = logging.getLogger(__name__)


Candidate = tuple[FileVersion, float]
"""Version of a file that was noticed and may still be incomplete, and the monotonic time in seconds at which it counts
as complete unless it changes before."""


class FolderSource:
    """Watches one folder.

    Args:
        settings: Folder to watch, and how.
        context: Interface to the agent.
        watcher: Starts the kernel's notifications, unless `settings.polling` is set.
    """

    def __init__(
        self, settings: FolderSourceSettings, context: SourceContext, *, watcher: type[KernelWatch] = KernelWatch
    ) -> None:
        self._settings = settings
        self._root = settings.path
        self._context = context
        self._clock = context.clock
        self._faults = ImageFaults(context)
        self._sent = SentImages(
            context.index,
            context.source,
            max_present=settings.max_files,
            clock=self._clock,
            options=context.options_digest,
        )
        self._watcher = None if settings.polling else watcher
        self._watch: KernelWatch | None = None
        self._folder: tuple[int, int] | None = None
        self._scan: Iterator[tuple[str, FileVersion]] | None = None
        self._scan_length_s = 0.0
        self._soonest_scan_at = float("-inf")
        # State that other threads change too, guarded by the lock of `_changed`:
        self._changed = threading.Condition()
        self._candidates: dict[str, Candidate] = {}
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
        failures = 0
        with self._context.on_stop(self._wake):
            try:
                while not self._context.stopping:
                    try:
                        self._ensure_watch()
                        self._advance_scan()
                        self._capture_complete()
                    except (StorageError, SpoolError) as error:
                        failures += 1
                        self._interrupt(error)
                        self._context.wait(RETRY.pause_s(failures))
                    else:
                        failures = 0
                        self._context.report("watching")
                        self._wait()
            finally:
                self._abort_scan()
                self._close_watch()

    def _ensure_watch(self) -> None:
        """Make sure that the folder now at the path is watched, and scan it when files may have been missed.

        A folder that was deleted and recreated, or on which a disk was mounted, is another folder under the same path.
        """
        folder = identify(self._root)
        if folder == self._folder and (self._watch is None or self._watch.alive()):
            return
        self._close_watch()
        if self._watcher is not None:
            try:
                self._watch = self._watcher(self._root, self.notice, self.check)
            except OSError as error:
                _log.warning(
                    "the kernel can't watch %s (%s); the folder is scanned regularly instead", self._root, error
                )
        self._folder = folder
        self._abort_scan()
        with self._changed:
            self._next_scan_at = self._soonest_scan_at = float("-inf")

    def _close_watch(self) -> None:
        watch, self._watch, self._folder = self._watch, None, None
        if watch is not None:
            watch.close()

    def _advance_scan(self) -> None:
        """Handle the next files of the current scan, or begin a scan that is due."""
        began = self._clock.monotonic()
        if self._scan is None:
            if self._find_next_scan() > began:
                return
            with self._changed:
                self._next_scan_at = float("inf")
            self._sent.begin_scan()
            self._scan_length_s = 0.0
            self._scan = scan(
                self._root,
                self._report_folder,
                lambda name: self._faults.report_unsupported(name, build_subject(Path(name))),
            )
        try:
            ended = self._look_at_some(self._scan)
        except BaseException:
            self._abort_scan()
            raise
        now = self._clock.monotonic()
        self._scan_length_s += now - began
        if ended:
            self._scan = None
            self._soonest_scan_at = now + SCAN_SHARE * self._scan_length_s
            pause_s = RESCAN_S if self._watch is not None else self._settings.poll_s
            with self._changed:
                self._next_scan_at = min(self._next_scan_at, max(now + pause_s, self._soonest_scan_at))

    def _look_at_some(self, found: Iterator[tuple[str, FileVersion]]) -> bool:
        """Handle up to `SCAN_SLICE` files of a scan; return True when the scan has ended."""
        for _ in range(SCAN_SLICE):
            if self._context.stopping or (self._full and not self._sent.full):
                return False
            file = next(found, None)
            if file is None:
                self._sent.end_scan()
                return True
            self._look_at(*file)
        return False

    def _look_at(self, relative: str, version: FileVersion) -> None:
        """Queue a file that a scan has found for capture, unless it is empty, was sent, or waits already."""
        identity = self._identify(relative, version)
        self._sent.find(identity)
        candidate = self._candidates.get(relative)
        waiting = candidate is not None and candidate[0] == version
        if not waiting and version.size_bytes > 0 and identity not in self._sent:
            self._add(relative, version, wait_s=self._settings.settle_s)

    def _abort_scan(self) -> None:
        if self._scan is not None:
            self._scan = None
            self._sent.abort_scan()
            with self._changed:
                self._next_scan_at = float("-inf")

    @property
    def _full(self) -> bool:
        """Whether there is no room for another file that waits."""
        return len(self._candidates) >= MAX_CANDIDATES

    def _find_next_scan(self) -> float:
        """Return the time of the next scan, monotonic seconds: not sooner than the last one allows."""
        return float("inf") if self._full else max(self._next_scan_at, self._soonest_scan_at)

    def _capture_complete(self) -> None:
        """Capture the files that count as complete, in the order of their modification times."""
        now = self._clock.monotonic()
        with self._changed:
            due = [(name, candidate) for name, candidate in self._candidates.items() if candidate[1] <= now]
        for relative, candidate in sorted(due, key=lambda item: (item[1][0].mtime_ns, item[0])):
            if self._context.stopping:
                break
            if self._sent.full:
                raise SpoolError(f"folder {self._root} contains max_files images ({self._settings.max_files})")
            changed = self._capture(relative, candidate[0])
            with self._changed:
                if self._candidates.get(relative) == candidate:  # else it was noticed again meanwhile
                    del self._candidates[relative]
            if changed:
                self.notice(relative, max(self._settings.settle_s, CHANGED_S))
        self._sent.save()

    def _capture(self, relative: str, version: FileVersion) -> bool:
        """Read a file and pass it to the agent; return whether it has changed since it was noticed.

        A fault of the file is reported, so that other files can follow.

        Raises:
            StorageError: When the folder itself is missing.
            SpoolError: When the spool doesn't take the event now.
        """
        identity, name = self._identify(relative, version), build_subject(Path(relative))[:256]
        if identity in self._sent:
            return False
        if version.size_bytes > self._context.max_bytes:
            message = f"{name} has {version.size_bytes} bytes, more than {self._context.max_bytes}"
            self._faults.report("too_large", identity, message)
            self._sent.add(identity)
            return False
        try:
            data = read_file(self._root, relative, version)
            if data is None:
                return True
            outcome = capture_when_possible(self._context, _build_frame(relative, version, data))
        except (SpoolError, StorageError):
            raise
        except FileNotFoundError:
            return False
        except OSError as error:
            message = f"{name} can't be read ({error.strerror}); the source tries again"
            self._faults.report("unreadable", identity, message)
            return False
        except Exception as error:  # noqa: BLE001 - one file must not stop all others
            self._faults.report(
                "failed", identity, f"{name} can't be made into an event; the source tries again", error
            )
            return False
        if outcome is Outcome.DROPPED:
            self._sent.pass_over(identity)
        elif outcome is not None:
            self._sent.add(identity)
        return False

    def _identify(self, relative: str, version: FileVersion) -> str:
        """Return the id of the event that one version of a file becomes."""
        return event_id(self._context.source, _position(relative, version))

    def _report_folder(self, relative: str, error: OSError) -> None:
        name = build_subject(Path(relative))[:256]
        message = f"folder {name} can't be listed ({error.strerror}); the source tries again"
        self._faults.report("unreadable", f"{relative}/", message)

    def _add(self, relative: str, version: FileVersion, *, wait_s: float) -> None:
        """Add a file that waits until it is complete.

        When the same version of a file is added several times, the longest wait counts, because the file may still be
        open, until its writer has closed it.
        """
        due = self._clock.monotonic() + (wait_s or CLOSED_S)
        with self._changed:
            before = self._candidates.get(relative)
            if before is None and self._full:
                self._next_scan_at = float("-inf")
                return
            if wait_s and before is not None and before[0] == version:
                due = max(due, before[1])
            self._candidates[relative] = version, due
            if due < self._wake_at:
                self._changed.notify_all()

    def _interrupt(self, error: StorageError | SpoolError) -> None:
        """Report that the folder or the spool can't be used now, and stop watching a folder that is missing."""
        if isinstance(error, SpoolError):
            self._context.report("paused", explain_refusal(error))
        else:
            self._context.report("waiting", f"{error.message}; capture is paused until it can be opened")
            self._abort_scan()
            self._close_watch()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _wait(self) -> None:
        """Wait until a file is complete, a scan is due, or the folder must be checked."""
        check_at = self._clock.monotonic() + (CHECK_S if self._watch is not None else RESCAN_S)
        with self._changed:
            while not self._context.stopping and not self._check:
                self._wake_at = min(self._find_next_step(), check_at)
                left_s = self._wake_at - self._clock.monotonic()
                if left_s <= 0:
                    break
                self._clock.wait(self._changed, left_s)
            self._check, self._wake_at = False, float("-inf")

    def _find_next_step(self) -> float:
        """Return the time of the next step if no notification comes before it, monotonic seconds."""
        steps = [due for _, due in self._candidates.values()]
        if self._scan is None:
            steps.append(self._find_next_scan())
        elif not self._full:
            return float("-inf")
        return min(steps, default=float("inf"))


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
