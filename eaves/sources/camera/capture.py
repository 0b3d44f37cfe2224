"""Hand-over of a stream's frames to the agent: their positions, and the newest one while the queue is full."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from eaves import media_type
from eaves.errors import SpoolError
from eaves.sources.camera.wire import StreamFrame
from eaves.sources.context import SourceContext
from eaves.sources.files import build_text
from eaves.sources.frame import Cause, Frame
from eaves.sources.spool_refusal import REFUSED, explain_refusal

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Random id of the kernel's start. Source: random(4)."""
JPEG = "image/jpeg"
EARLY = 0.5
"""Share of `every_s` after which the next frame is taken. The decoder keeps the interval within a stream; this limit is
for cameras that end each connection after one frame."""

_log = logging.getLogger(__name__)


class FrameCapture:
    """Passes frames to the agent. While the queue is full it keeps the newest frame and offers it again.

    Args:
        context: Interface to the agent.
        subject: Name of the stream, the subject of its events.
        every_s: Minimum time between two frames, seconds.
    """

    def __init__(self, context: SourceContext, subject: str, every_s: float) -> None:
        self._context = context
        self._subject = build_text(subject)
        self._every_s = every_s
        self._held: Frame | None = None
        self._failures = 0
        self._retry_s = 0.0
        self._taken_s: float | None = None
        self._logged: set[Cause] = set()

    @property
    def paused(self) -> bool:
        """Whether the queue has no room for the frame at hand."""
        return self._held is not None

    def offer(self, frame: StreamFrame, stream: str) -> None:
        """Store a frame, or keep it while the queue is full.

        Args:
            frame: Frame from the decoder.
            stream: Text that the position of each frame of this stream begins with.
        """
        context = self._context
        now_s = context.clock.monotonic()
        if media_type.sniff(frame.data) != JPEG:
            context.drop("unreadable")
            return
        if self._taken_s is not None and now_s - self._taken_s < EARLY * self._every_s:
            context.drop("rate")
            return
        self._taken_s = now_s
        if self._held is not None:
            context.drop("spool_full")
        self._held = Frame(
            data=frame.data,
            position=f"{stream}\0{frame.number}",
            subject=self._subject,
            captured_at_ns=frame.captured_at_ns,
            content_type=JPEG,
        )
        self.retry()

    def retry(self) -> bool:
        """Store the frame that is kept, if there is one and it is time; return whether it was stored after a pause."""
        context = self._context
        if self._held is None or context.clock.monotonic() < self._retry_s:
            return False
        try:
            context.capture(self._held)
        except SpoolError as error:
            self._failures += 1
            self._retry_s = context.clock.monotonic() + REFUSED.pause_s(self._failures)
            context.report("paused", explain_refusal(error))
            return False
        paused = self._failures > 0
        self._held, self._failures, self._retry_s = None, 0, 0.0
        return paused

    def count(self, replaced: int, dropped: Mapping[tuple[Cause, str], int], hide: Callable[[str], str]) -> None:
        """Count frames that never got here, and log the first one of each cause that has a reason.

        Args:
            replaced: Number of frames that newer ones replaced.
            dropped: Numbers of frames that the decoder dropped, by cause and reason.
            hide: Removes credentials from a reason.
        """
        if replaced:
            self._context.drop("spool_full" if self.paused else "late", replaced)
        for (cause, reason), number in dropped.items():
            self._context.drop(cause, number)
            if reason and cause not in self._logged:
                self._logged.add(cause)
                further = f"further such frames are not logged; they are counted as dropped, with the cause {cause}"
                name = self._context.name
                _log.error("source %s: not captured: a frame: %s; %s", name, hide(reason)[:256], further)


class LivePositions:
    """Positions of frames of live streams: the machine's start, the stream's start, and the frame's number."""

    def __init__(self) -> None:
        self._boot_id = read_boot_id()
        self._started_ns = 0

    def start(self) -> str:
        """Begin a stream, and return what the positions of its frames begin with."""
        # The real clock: by a test's clock that stands still, two streams would start at once.
        self._started_ns = max(time.monotonic_ns(), self._started_ns + 1)
        return f"{self._boot_id}\0{self._started_ns}"


def read_boot_id() -> str:
    """Return the id of the machine's last start; a random text where the kernel has none."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return secrets.token_hex(16)


def start_file(path: Path, identity: tuple[int, int]) -> str:
    """Return what the positions of a file's frames begin with; the same file has the same frames in the next run.

    Args:
        path: Path of the file as in the settings.
        identity: Modification time in nanoseconds and size.
    """
    return f"{path}\0{identity[0]}\0{identity[1]}"
