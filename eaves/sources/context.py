"""Interface between a source and the agent that runs it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, Protocol

from eaves.base.clock import Clock
from eaves.http_client.proxies import Proxies
from eaves.sources.frame import Cause, Frame, Outcome
from eaves.sources.index import SentIndex

State = Literal["watching", "waiting", "paused", "finished"]
"""`watching`: new images are captured. `waiting`: the source's input is not available. `paused`: the queue is full.
`finished`: all images of a recording were captured."""


class SourceContext(Protocol):
    """The agent as one source sees it. Every member may be used from any thread.

    Each call is a sign of life. A source uses some member at least every five minutes, because one that is silent for
    longer than `eaves.sources.agent.context.SILENT_S` counts as hung, and its process is restarted.
    """

    @property
    def name(self) -> str:
        """Name of the source, the last part of its events' `source`."""

    @property
    def source(self) -> str:
        """`source` attribute of its events, `/eaves/SITE/NAME`."""

    @property
    def agent_id(self) -> str:
        """Random id that is stable as long as the agent's spool exists, for names that no other agent may have."""

    @property
    def clock(self) -> Clock:
        """Wall clock and monotonic clock. A source uses no other clock."""

    @property
    def max_bytes(self) -> int:
        """Maximum size of an image that becomes an event, bytes. A source reads no more than that of one image."""

    @property
    def credentials(self) -> Path | None:
        """Folder for `eaves.credentials.read_credentials`, to be read at each connection; None without credentials."""

    @property
    def proxies(self) -> Proxies:
        """HTTP proxies of the process, for `eaves.http_client`."""

    @property
    def index(self) -> SentIndex:
        """Durable memory of the events that were captured."""

    @property
    def stopping(self) -> bool:
        """Whether the source must return from `run`."""

    def wait(self, seconds: float) -> bool:
        """Wait, at most until the source must return; return False when it must."""

    def on_stop(self, wake: Callable[[], None]) -> AbstractContextManager[None]:
        """Call `wake` when the source must return, while the block runs; for a source that waits elsewhere."""

    def capture(self, frame: Frame) -> Outcome:
        """Apply the source's options (rate, crop, ...) to a frame and store its event; it is on disk on return.

        Raises:
            SpoolFullError: When the queue has no room now. The source keeps the frame and offers it again after a
                pause. When it can't get the frame again, it drops it with the cause `spool_full`.
            SpoolError: When the queue can't be written now; handled in the same way.
        """

    def drop(self, cause: Cause, count: int = 1) -> None:
        """Count frames that were dropped without being offered to `capture`."""

    def report(self, state: State, reason: str = "") -> None:
        """Report what the source does now; a change is logged once, and a repetition is not logged.

        Args:
            state: `watching`: new images are captured. `waiting`: its input is not available. `paused`: the queue is
                full.
            reason: Why the source isn't watching, as a sentence without credentials.
        """

    def reconnected(self) -> None:
        """Count a reconnection."""
