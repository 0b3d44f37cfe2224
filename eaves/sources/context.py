"""Interface between a source and the agent that runs it: frames, their outcome, the memory of what was emitted."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from eaves.base.clock import Clock
    from eaves.http_client.proxies import Proxies


State = Literal["watching", "waiting", "paused", "finished"]
"""What a source does now. `watching`: it captures new images. `waiting`: its input, such as a camera, is not available.
`paused`: the queue is full. `finished`: it has captured all images of a recording."""


class SentIndex(Protocol):
    """Ids of the events that sources have emitted, so that an image that is found again isn't sent again.

    `eaves.spool.Spool` implements this interface.
    """

    @property
    def added(self) -> int:
        """Number of ids that this process has added, or tried to; as many may have displaced the oldest ones."""

    def seen(self, source: str, event_id: str, *, options: bytes = b"") -> bool:
        """Return whether the event was emitted before, or left out by the options with this digest.

        Raises:
            SpoolError: When the memory can't be read.
        """

    def remember(self, source: str, event_ids: Collection[str], *, options: bytes = b"") -> None:
        """Remember ids as if their events had been emitted, or as left out by the options with this digest.

        Raises:
            SpoolError: When the memory can't be written.
        """

    def touch(self, source: str, event_ids: Collection[str]) -> int:
        """Mark ids as still needed now, so that they aren't forgotten; return how many of them were remembered.

        Raises:
            SpoolError: When the memory can't be written.
        """

    def forget(self, source: str, before: float) -> int:
        """Forget a source's ids that weren't emitted or marked as needed since `before`, Unix seconds; return how many.

        Raises:
            SpoolError: When the memory can't be written.
        """


class SourceContext(Protocol):
    """Interface to the agent that a source gets when it runs. Any thread may use every member.

    Each call also shows that the source isn't hung. A source must use some member at least every five minutes. A source
    that uses none for `eaves.sources.agent.context.SILENT_S` seconds counts as hung, and its process is restarted.
    """

    @property
    def name(self) -> str:
        """Name of the source, which is the last part of the attribute `source` of its events."""

    @property
    def source(self) -> str:
        """CloudEvents attribute `source` of the source's events, `/eaves/SITE/NAME`."""

    @property
    def agent_id(self) -> str:
        """Random id that stays the same while the agent's spool exists, for names that must be unique to an agent."""

    @property
    def clock(self) -> Clock:
        """Wall clock and monotonic clock; a source must use no other clock, so that tests can replace it."""

    @property
    def max_bytes(self) -> int:
        """Maximum size of an image that becomes an event, bytes. A source must not read more for one image."""

    @property
    def credentials(self) -> Path | None:
        """Folder of the source's credentials, which are read at each connection; None without credentials.

        `eaves.credentials.read_credentials` reads it.
        """

    @property
    def proxies(self) -> Proxies:
        """HTTP proxies of the process, for `eaves.http_client`."""

    @property
    def options_digest(self) -> bytes:
        """Digest of the options that leave frames out; a frame that other options left out is offered again."""

    @property
    def index(self) -> SentIndex:
        """Durable memory of the events that were captured."""

    @property
    def stopping(self) -> bool:
        """Whether the source must return from `run`."""

    def wait(self, seconds: float) -> bool:
        """Wait for a number of seconds, or until the source must return; return False when it must return."""

    def on_stop(self, wake: Callable[[], None]) -> AbstractContextManager[None]:
        """Within the block, call `wake` when the source must return; for a source that doesn't wait with `wait`."""

    def capture(self, frame: Frame) -> Outcome:
        """Apply the source's options (rate, crop, ...) to a frame and store its event on disk before returning.

        Raises:
            SpoolFullError: When the queue has no room now. The source keeps the frame and offers it again after a
                pause. When it can't get the frame again, it drops it with the cause `spool_full`.
            SpoolError: When the queue can't be written now; handled in the same way.
        """

    def drop(
        self, cause: Cause, count: int = 1, *, reason: str = "", key: str = "", error: Exception | None = None
    ) -> None:
        """Count frames that the source itself dropped, without passing them to `capture`.

        Args:
            cause: Why they were dropped.
            count: Number of frames.
            reason: What is wrong with them, as a sentence for the log. It is logged once an hour, and at most 20
                sentences of a cause are; empty when nothing is wrong.
            key: Text that identifies a frame that the source finds again and again; it is counted once. Empty to count.
            error: Exception to log with its traceback.
        """

    def report(self, state: State, reason: str = "") -> None:
        """Report what the source does now.

        The log gets a line when the state or reason has changed, and the same line once an hour at most.

        Args:
            state: What the source does now, see `State`.
            reason: Why the source isn't watching, as a sentence without credentials.
        """

    def reconnected(self) -> None:
        """Count a reconnection to the source's server or broker."""

    def describe(self, facts: Mapping[str, Any]) -> None:
        """Say what was found in the source's input, such as the codec of a stream; `eaves sources try` shows it."""


Cause = Literal[
    "late",
    "duplicate",
    "rate",
    "unchanged",
    "too_large",
    "spool_full",
    "unsupported",
    "unreadable",
    "hours",
    "failed",
    "topic",
]
"""Reason why a frame is dropped.

`late`: a newer frame took its place before it was spooled. `duplicate`: it was captured before. `rate`: it came sooner
after the last one than `rate` allows. `unchanged`: it hardly differs from the last one. `too_large`: more bytes or
pixels than allowed. `spool_full`: the queue had no room and the source can't offer it again. `unsupported`: a format
that no function reads, or no image at all. `unreadable`: it could not be read; it may be captured later. `hours`:
outside the hours of capture. `failed`: an error of the source itself, which is logged; it may be captured later.
`topic`: a message of a topic that the source doesn't subscribe to, or no longer subscribes to.
"""
ERRORS: Mapping[Cause, str] = MappingProxyType(
    {
        "too_large": "it has more bytes or pixels than allowed",
        "unsupported": "it is no image in a format that functions read",
        "unreadable": "it can't be read",
        "failed": "the source has an error of its own, which the log names",
    }
)
"""Causes that are errors of an image, of the settings or of the source, with the usual reason of each. A correction may
end an error, so an image with one of these causes is not lost for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One image that a source offers to its agent.

    Attributes:
        data: Encoded image.
        position: Text that identifies this image among all images of the source and is the same whenever the image is
            found again. The event's id is derived from it, so an image that is found twice is sent once.
        subject: Name of the image within the source, such as a relative path or a topic.
        captured_at_ns: Capture time, nanoseconds since 1970; None when it isn't known.
        camera: Name of the camera, the event's `partitionkey`; empty for the source's own name.
        content_type: Media type of `data`; empty to detect it from the first bytes.
        extensions: Further extension attributes of the event; names consist of lower-case a-z and 0-9.
    """

    data: bytes = field(repr=False)
    position: str
    subject: str = ""
    captured_at_ns: int | None = None
    camera: str = ""
    content_type: str = ""
    extensions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dropped:
    """Reason why a frame becomes no event; returned in place of the frame.

    Attributes:
        cause: Cause that the frame is counted under.
        reason: What is wrong with the image, as a sentence for the log; empty when nothing is.
    """

    cause: Cause
    reason: str = ""


class Outcome(enum.Enum):
    """Result of passing a frame to `SourceContext.capture`."""

    CAPTURED = "captured"
    """The frame's event is on disk."""
    DROPPED = "dropped"
    """The frame will never become an event: an option leaves it out, or it was captured before. The cause was counted.
    The source must not pass the frame to `capture` again, not even after a restart."""
    UNUSABLE = "unusable"
    """The frame can't become an event because of one of the `ERRORS`, which was counted. Another setting may change
    that, so the source may pass the frame to `capture` again after a restart, but not before."""
