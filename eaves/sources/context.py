"""Interface between a source and the agent that runs it, and the memory of what it has emitted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, Protocol

from eaves.base.clock import Clock
from eaves.http_client.proxies import Proxies
from eaves.sources.frame import Cause, Frame, Outcome

State = Literal["watching", "waiting", "paused", "finished"]
"""What a source does now. `watching`: it captures new images. `waiting`: its input, such as a camera, is not available.
`paused`: the queue is full. `finished`: it has captured all images of a recording."""


class SentIndex(Protocol):
    """Ids of the events that sources have emitted, so that an image that is found again isn't sent again.

    `eaves.spool.Spool` implements this interface.
    """

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
