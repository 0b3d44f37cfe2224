"""Main loop of the folder source: wait for the folder, watch it, scan it, capture complete files.

A file is complete when its writer closes it or moves it here (the kernel notifies), or when size and modification time
haven't changed for `settle_s` (polling, files found by a scan, remote writers on a network folder). An image's position
is path, modification time and size, so a changed file is a new image and a file that is found again is not. Empty and
hidden files, links and files with other suffixes are ignored.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from eaves.base.backoff import Backoff
from eaves.errors import SpoolError, StorageError
from eaves.media_type import is_image_path
from eaves.sources.context import SourceContext
from eaves.sources.folder.candidates import CandidateFile, CandidateFiles
from eaves.sources.folder.capturer import Capturer, FileOutcome
from eaves.sources.folder.reader import FileVersion, find_version
from eaves.sources.folder.scan_pace import ScanPace
from eaves.sources.folder.scanner import scan
from eaves.sources.folder.settings import FolderSourceSettings
from eaves.sources.folder.watch_keeper import WatchKeeper
from eaves.sources.folder.watcher import KernelWatch, Watcher
from eaves.sources.sent_images import SentImages
from eaves.sources.spool_refusal import explain_refusal

RESCAN_S = 60.0
"""Interval between two scans although the kernel notifies about files, seconds. The kernel drops notifications when its
queue overflows."""
SCAN_SLICE = 1_000
"""Number of files that a scan handles before the source captures files that are complete."""
CHECK_S = 5.0
"""Interval between two checks whether the path still leads to the folder that is watched, seconds."""
CLOSED_S = 0.2
"""Delay before a file that its writer closed counts as complete, seconds. `shutil.copy2`, Python's tarfile and busybox'
tar set the file's time by name after closing it, and a file with a new time is another image with another id."""
CHANGED_S = 1.0
"""Minimum time before a file that changed while it was read is read again, seconds."""
CALM_S = 10.0
"""Time without a SpoolError after which the source no longer counts as paused, seconds. A spool that is delivered more
slowly than images arrive is full again and again."""
RETRY = Backoff(retry=None, first_s=0.5, cap_s=10.0)
"""Pauses between attempts to find a missing folder, and between attempts to store an image in a full spool."""


class FolderSource:
    """Watches one folder.

    Args:
        settings: Folder to watch, and how.
        context: Interface to the agent.
        watcher: Starts the kernel's notifications, unless `settings.polling` is set.
    """

    def __init__(
        self, settings: FolderSourceSettings, context: SourceContext, *, watcher: Watcher = KernelWatch
    ) -> None:
        self._settings = settings
        self._context = context
        self._clock = context.clock
        self._watch = WatchKeeper(settings.path, None if settings.polling else watcher, self, self._clock)
        self._pace = ScanPace(self._clock)
        self._scan: Iterator[tuple[str, FileVersion]] | None = None
        self._trusting = self._untold = False
        self._capturer = Capturer(settings.path, context)
        self._sent = SentImages(
            context.index,
            context.source,
            limit=settings.known_files,
            max_present=settings.max_files,
            remember_s=settings.remember_s,
            clock=self._clock,
        )
        self._paused = False
        self._refused_at = float("-inf")
        # State that other threads change too, guarded by the lock of `_changed`:
        self._changed = threading.Condition()
        self._candidates = CandidateFiles()
        self._overflowed = False
        self._wake_at = float("-inf")
        self._check = False

    def notice(self, relative: str, *, wait_s: float) -> None:
        """Record that a file may be new or changed; it counts as complete after `wait_s` seconds without a change.

        Args:
            relative: Path of the file below the folder.
            wait_s: Time without a change, seconds; 0 when the writer has closed the file or moved it here.
        """
        if not is_image_path(relative):
            return
        try:
            version = find_version(self._settings.path, relative)
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
            self._run()

    def _run(self) -> None:
        failures = 0
        try:
            while not self._context.stopping:
                try:
                    if self._watch.ensure():
                        self._abort_scan()
                        self._pace.reset()
                    self._advance_scan()
                    self._capture_complete()
                except (StorageError, SpoolError) as error:
                    failures += 1
                    self._interrupt(error)
                    self._pause(RETRY.pause_s(failures))
                else:
                    failures = 0
                    self._report_watching()
                    self._wait()
        finally:
            self._abort_scan()
            self._watch.close()

    def _advance_scan(self) -> None:
        """Handle the next files of the current scan, or begin a scan that is due."""
        if self._scan is None:
            if self._next_scan() > self._clock.monotonic():
                return
            with self._changed:
                # Files without room were notified; before the first scan there was no watch to notify.
                self._trusting = self._overflowed or self._pace.next_at == float("-inf")
                self._overflowed = self._untold = False
            self._sent.begin_scan()
            self._pace.begin()
            self._scan = scan(self._settings.path, self._capturer.report_folder, self._capturer.report_unsupported)
        try:
            with self._pace.measured():
                ended = self._look_at_some(self._scan)
        except BaseException:
            self._abort_scan()
            raise
        if ended:
            self._scan = None
            if self._untold:
                self._watch.distrust()
            self._pace.end(RESCAN_S if self._watch.watching else self._settings.poll_s)

    def _look_at_some(self, found: Iterator[tuple[str, FileVersion]]) -> bool:
        """Handle up to `SCAN_SLICE` files of a scan; return True when the scan has ended."""
        for _ in range(SCAN_SLICE):
            if self._context.stopping or (self._candidates.full and not self._sent.full):
                return False
            file = next(found, None)
            if file is None:
                self._sent.end_scan()
                return True
            self._look_at(*file)
        return False

    def _look_at(self, relative: str, version: FileVersion) -> None:
        """Queue a file that a scan has found for capture, unless it is empty, was sent, or waits already."""
        identity = self._capturer.identify(relative, version)
        self._sent.find(identity)
        with self._changed:
            waiting = self._candidates.holds(relative, version)
        if waiting or version.size_bytes == 0 or identity in self._sent:
            return
        self._untold = self._untold or not (self._trusting or self._capturer.reported(identity))
        self._add(relative, version, wait_s=self._settings.settle_s)

    def _abort_scan(self) -> None:
        if self._scan is not None:
            self._scan = None
            self._sent.abort_scan()

    def _next_scan(self) -> float:
        """Return the time of the next scan, monotonic seconds; earlier when there was no room for noticed files."""
        with self._changed:
            missed = self._overflowed and not self._candidates.full
            return self._pace.soonest_at if missed else self._pace.next_at

    def _capture_complete(self) -> None:
        with self._changed:
            due = self._candidates.find_due(self._clock.monotonic())
        for relative, candidate in due:
            if self._context.stopping:
                break
            if self._sent.full:
                raise SpoolError(f"folder {self._settings.path} contains max_files images ({self._settings.max_files})")
            outcome = self._capture(relative, candidate.version)
            with self._changed:
                self._candidates.remove(relative, candidate)
            if outcome is FileOutcome.CHANGED:
                self.notice(relative, wait_s=max(self._settings.settle_s, CHANGED_S))
        self._sent.save()

    def _capture(self, relative: str, version: FileVersion) -> FileOutcome:
        identity = self._capturer.identify(relative, version)
        if identity in self._sent:
            return FileOutcome.CAPTURED
        outcome = self._capturer.capture(relative, version, identity)
        if outcome is FileOutcome.DROPPED:
            self._sent.pass_over(identity)
        elif outcome in {FileOutcome.CAPTURED, FileOutcome.UNUSABLE}:
            self._sent.add(identity)
        return outcome

    def _add(self, relative: str, version: FileVersion, *, wait_s: float) -> None:
        candidate = CandidateFile(version, self._clock.monotonic() + (wait_s or CLOSED_S), wait_s == 0)
        with self._changed:
            if not self._candidates.add(relative, candidate):
                self._overflowed = True
            elif candidate.due < self._wake_at:
                self._changed.notify_all()

    def _interrupt(self, error: StorageError | SpoolError) -> None:
        """Report that the folder or the spool can't be used now, and stop watching a folder that is missing."""
        self._paused = isinstance(error, SpoolError)
        self._refused_at = self._clock.monotonic()
        if isinstance(error, SpoolError):
            self._context.report("paused", explain_refusal(error))
        else:
            self._context.report("waiting", f"{error.message}; capture is paused until it can be opened")
            self._abort_scan()
            self._watch.close()

    def _report_watching(self) -> None:
        if not self._paused or self._clock.monotonic() >= self._refused_at + CALM_S:
            self._paused = False
            self._context.report("watching")

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _pause(self, pause_s: float) -> None:
        """Wait for a fixed time, whatever files are noticed meanwhile."""
        deadline = self._clock.monotonic() + pause_s
        with self._changed:
            while not self._context.stopping and (left_s := deadline - self._clock.monotonic()) > 0:
                self._clock.wait(self._changed, left_s)

    def _wait(self) -> None:
        """Wait until a file is complete, a scan is due, or the folder must be checked."""
        check_at = self._clock.monotonic() + (CHECK_S if self._watch.watching else RESCAN_S)
        with self._changed:
            while not self._context.stopping and not self._check:
                self._wake_at = min(self._next_step(), check_at)
                left_s = self._wake_at - self._clock.monotonic()
                if left_s <= 0:
                    break
                self._clock.wait(self._changed, left_s)
            self._check, self._wake_at = False, float("-inf")

    def _next_step(self) -> float:
        """Return the time of the next step if no notification comes before it, monotonic seconds."""
        steps = [self._candidates.next_due()]
        if self._scan is None:
            steps.append(self._next_scan())
        elif not self._candidates.full:
            return float("-inf")
        if self._paused:
            steps.append(self._refused_at + CALM_S)
        return min(steps)
