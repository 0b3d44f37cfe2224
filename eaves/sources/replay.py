"""The replay source, which plays the images of a folder in order, for demonstrations and load tests.

It plays the images that exist when a round begins, sorted by modification time, and never writes to the folder. To
watch a folder, use the kind `folder`.

When the recording is played once, an image is identified by path, modification time and size, like a folder's. After a
restart, images that were captured before, or left out by an option, are skipped and the rest follows. In a loop, each
round has a number that no other round has, even in other processes, derived from the time at which it began; a restart
begins a new round. Nothing else is remembered across restarts.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from eaves.base.backoff import Backoff
from eaves.config import setting
from eaves.errors import SpoolError, StorageError
from eaves.events import event_id
from eaves.sources.context import SourceContext
from eaves.sources.files import build_subject, position
from eaves.sources.folder.reader import FileVersion, read_file, scan
from eaves.sources.frame import Cause, Frame, Outcome
from eaves.sources.kind import SourceKind
from eaves.sources.spool_refusal import capture_when_possible

MAX_IMAGES = 100_000
"""Maximum number of images in a recording: their names and times are in memory (about 20 MB), and the ids of one that
is played once are remembered so that a restart doesn't play them again."""
RETRY = Backoff(retry=None, first_s=0.5, cap_s=10.0)
"""Pauses between attempts to read a recording that is missing."""
IDLE_S = 60.0
"""Interval at which the source calls its context after the last image was played, seconds, so that it doesn't count as
hung."""
EMPTY_S = 1.0
"""Minimum time between two rounds when no image of a round could be played, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySourceSettings:
    """Settings of a recording that is played."""

    path: Path = setting(Path("/images"), "Folder with the images, including all its subfolders.")
    every_s: float = setting(
        1.0,
        "Seconds between two images; 0 captures as fast as the queue accepts them, for load "
        "tests. The default is slow enough to watch.",
        minimum=0,
        maximum=86_400,
    )
    loop: bool = setting(False, "Start again after the last image. The images of each round have ids of their own.")
    times: str = setting(
        "original",
        "Capture time of the events: `original` is the time when the file was last modified, "
        "`now` is the time when it is played.",
        choices=("original", "now"),
    )


class ReplaySource:
    """Plays one folder.

    Args:
        settings: Recording to play, and how.
        context: Interface to the agent.
        max_images: Maximum number of images of one recording.
    """

    def __init__(self, settings: ReplaySourceSettings, context: SourceContext, *, max_images: int = MAX_IMAGES) -> None:
        self._settings = settings
        self._context = context
        self._max_images = max_images
        self._due = context.clock.monotonic()
        self._played = 0
        self._dropped: set[str] = set()
        self._unusable: set[str] = set()

    def run(self) -> None:
        """Play until the agent stops."""
        context, failures = self._context, 0
        while not context.stopping:
            before = self._played
            try:
                self._play_round(f"\0{int(context.clock.now() * 1e9)}" if self._settings.loop else "")
            except StorageError as error:
                failures += 1
                context.report("waiting", error.message)
                context.wait(RETRY.pause_s(failures))
                continue
            failures = 0
            if not self._settings.loop:
                break
            if self._played == before:
                context.wait(EMPTY_S)
        if not context.stopping:
            context.report("finished", f"all images of {self._settings.path} were played")
        while context.wait(IDLE_S):
            pass

    def _play_round(self, number: str) -> None:
        root, found = self._settings.path, list[tuple[FileVersion, str]]()
        for path, version in scan(root, lambda *_: None, lambda path: self._drop("unsupported", path)):
            if len(found) == self._max_images:
                raise StorageError(
                    f"{root} contains more than {self._max_images} images; split it", hint=f"ls -l {root}"
                )
            found.append((version, path))
        for version, path in sorted(found):
            if self._context.stopping:
                return
            self._play(path, version, number)

    def _drop(self, cause: Cause, place: str) -> None:
        """Count an image that can't be played: in every round of a loop, or once when there is no loop."""
        if self._settings.loop or place not in self._dropped:
            self._context.drop(cause)
        if not self._settings.loop:
            self._dropped.add(place)

    def _play(self, path: str, version: FileVersion, number: str) -> None:
        context = self._context
        place = position(path, mtime_ns=version.mtime_ns, size_bytes=version.size_bytes) + number
        if not number and (place in self._unusable or self._was_played(place)):
            return
        if version.size_bytes > context.max_bytes:
            self._drop("too_large", place)
            return
        if not self._wait_for_turn():
            return
        try:
            data = read_file(self._settings.path, path, version)
        except OSError:
            data = None
        if data is None:
            self._drop("unreadable", place)
            return
        moment_ns = int(context.clock.now() * 1e9) if self._settings.times == "now" else version.mtime_ns
        subject = build_subject(Path(path))
        camera = subject.partition("/")[0] if "/" in subject else ""
        frame = Frame(data=data, position=place, subject=subject, captured_at_ns=moment_ns, camera=camera)
        outcome = capture_when_possible(context, frame)
        if outcome is None:
            return
        self._played += 1
        if outcome is Outcome.DROPPED and not number:
            # The options themselves don't remember it. If the spool can't, it may be played after a restart.
            with suppress(SpoolError):
                context.index.remember(context.source, [event_id(context.source, place)])
        if outcome is Outcome.UNUSABLE and not number:
            self._unusable.add(place)  # in memory only, because another setting may change it
        context.report("watching")

    def _was_played(self, place: str) -> bool:
        try:
            return self._context.index.seen(self._context.source, event_id(self._context.source, place))
        except SpoolError:
            return False  # `capture` raises the error again

    def _wait_for_turn(self) -> bool:
        """Wait until the next image is due; return False when the source must stop."""
        now = self._context.clock.monotonic()
        self._due = max(self._due, now)
        if self._due > now and not self._context.wait(self._due - now):
            return False
        self._due += self._settings.every_s
        return True


def run(settings: ReplaySourceSettings, context: SourceContext) -> None:
    """Play the images until the context says to stop."""
    ReplaySource(settings, context).run()


KIND = SourceKind(settings=ReplaySourceSettings, run=run, runs_as=("claim", "reader"), remembers=lambda _: MAX_IMAGES)
