"""Main loop of the replay source: play the recording at its pace, once or repeatedly.

When the recording is played once, an image is identified by path, modification time and size, like a folder's. After a
restart, images that were captured before, or left out by an option, are skipped and the rest follows. In a loop, each
round has a number that no other round has, even in other processes, derived from the time at which it began; a restart
begins a new round. Nothing else is remembered across restarts.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from eaves.base.backoff import Backoff
from eaves.errors import SpoolError, StorageError
from eaves.events import event_id
from eaves.sources.context import SourceContext
from eaves.sources.files import build_subject, position
from eaves.sources.frame import Cause, Frame, Outcome
from eaves.sources.replay.kind import MAX_IMAGES, ReplaySourceSettings
from eaves.sources.replay.recording import DAMAGED, Recorded, open_recording
from eaves.sources.spool_refusal import capture_when_possible

RETRY = Backoff(retry=None, first_s=0.5, cap_s=10.0)
"""Pauses between attempts to open a missing recording."""
IDLE_S = 60.0
"""Interval at which the source calls its context after the last image was played, seconds, so that it doesn't count as
hung."""
EMPTY_S = 1.0
"""Minimum time between two rounds when no image of a round could be played, seconds."""
REST = 10
"""Pause after a round that failed and played nothing, as a multiple of the round's duration, so that reading a large
damaged archive again and again takes at most a tenth of a CPU core."""
MAX_REST_S = 240.0
"""Maximum pause after a round that failed and played nothing, seconds. It is shorter than the time after which a source
without a call of its context counts as hung."""


class ReplaySource:
    """Plays one folder or archive.

    Args:
        settings: Recording to play, and how.
        context: Interface to the agent.
        max_images: Maximum number of images of one recording whose ids are remembered.
    """

    def __init__(self, settings: ReplaySourceSettings, context: SourceContext, *, max_images: int = MAX_IMAGES) -> None:
        self._settings = settings
        self._context = context
        self._max_images = max_images
        self._due = context.clock.monotonic()
        self._played = 0
        self._reached = 0
        self._failed_at = 0
        self._fault = ""
        self._dropped: set[str] = set()
        self._unusable: set[str] = set()

    def run(self) -> None:
        """Play until the agent stops."""
        context, failures = self._context, 0
        while not context.stopping:
            before, began = self._played, context.clock.monotonic()
            try:
                self._play_round(f"{int(context.clock.now() * 1e9)}" if self._settings.loop else "")
            except StorageError as error:
                failures += 1
                self._failed_at, self._fault = self._reached, error.message
                context.report("waiting", error.message)
                lasted_s = context.clock.monotonic() - began if self._played == before else 0.0
                context.wait(max(RETRY.pause_s(failures), min(REST * lasted_s, MAX_REST_S)))
                continue
            failures = self._failed_at = 0
            if not self._settings.loop:
                break
            if self._played == before:
                context.wait(EMPTY_S)
        if not context.stopping:
            context.report("finished", f"all images of {self._settings.path} were played")
        while context.wait(IDLE_S):
            pass

    def _play_round(self, number: str) -> None:
        self._reached = 0
        images = open_recording(
            self._settings.path,
            lambda path: self._drop("unsupported", path),
            max_in_folder=self._max_images,
            max_in_archive=None if self._settings.loop else self._max_images,
        )
        for image in images:
            if self._context.stopping:
                return
            self._reached += 1
            self._play(image, number)

    def _drop(self, cause: Cause, place: str) -> None:
        """Count an image that can't be played: in every round of a loop, or once when there is no loop."""
        if not self._settings.loop:
            if place in self._dropped:
                return
            self._dropped.add(place)
        self._context.drop(cause)

    def _report_playing(self) -> None:
        """Report `watching` when a recording that failed gets further than before; until then, report its fault.

        Otherwise the state would change twice in each round of a damaged recording.
        """
        if self._reached > self._failed_at:
            self._context.report("watching")
        else:
            self._context.report("waiting", self._fault)

    def _play(self, image: Recorded, number: str) -> None:
        context = self._context
        place = position(image.path, mtime_ns=image.mtime_ns, size_bytes=image.size_bytes)
        place = f"{place}\0{number}" if number else place
        if not number and (place in self._unusable or self._was_played(place)):
            return
        if image.size_bytes > context.max_bytes:
            self._drop("too_large", place)
            return
        if not self._wait_for_turn():
            return
        try:
            data = image.read()
        except DAMAGED:
            data = None
        if data is None or len(data) != image.size_bytes:
            self._drop("unreadable", place)
            return
        moment_ns = int(context.clock.now() * 1e9) if self._settings.times == "now" else image.mtime_ns
        subject = build_subject(Path(image.path))
        camera = subject.partition("/")[0] if "/" in subject else ""
        self._capture(Frame(data=data, position=place, subject=subject, captured_at_ns=moment_ns, camera=camera))

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

    def _capture(self, frame: Frame) -> None:
        outcome = capture_when_possible(self._context, frame)
        if outcome is None:
            return
        self._played += 1
        if outcome is Outcome.DROPPED and not self._settings.loop:
            self._remember(frame)
        if outcome is Outcome.UNUSABLE and not self._settings.loop:
            self._unusable.add(frame.position)  # in memory only, because another setting may change it
        self._report_playing()

    def _remember(self, frame: Frame) -> None:
        """Store the id of an image that an option left out, so that it is also skipped after a restart.

        The options themselves don't remember it.
        """
        with suppress(SpoolError):  # then it may be played after a restart
            self._context.index.remember(self._context.source, [event_id(self._context.source, frame.position)])
