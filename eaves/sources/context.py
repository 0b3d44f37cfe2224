"""What a source gets from the agent that runs it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, Protocol

from eaves.base.clock import Clock
from eaves.http_client.proxies import Proxies
from eaves.sources.frame import Cause, Frame, Outcome
from eaves.sources.index import SentIndex

State = Literal["watching", "waiting", "paused"]
"""`watching`: new images are captured. `waiting`: what the source reads is not there. `paused`: the queue is full."""


class SourceContext(Protocol):
    """The agent as one source sees it. All of it may be called from any thread.

    Each call is a sign of life. A source calls something of it at least every five minutes, as one that is silent for
    longer than `eaves.sources.agent.context.SILENT_S` counts as hung, and its process is started again.
    """

    @property
    def name(self) -> str:
        """The source's name, last part of its events' `source`."""

    @property
    def source(self) -> str:
        """Its events' `source`, `/eaves/SITE/NAME`."""

    @property
    def agent_id(self) -> str:
        """A random id that stays the same as long as the agent's spool: for names that no other agent may have."""

    @property
    def clock(self) -> Clock:
        """Time. A source reads no other clock."""

    @property
    def max_bytes(self) -> int:
        """Largest image in bytes that becomes an event. A source reads no more than that of one image."""

    @property
    def credentials(self) -> Path | None:
        """The folder for `eaves.credentials.read_credentials`, to be read at each connection; None without one."""

    @property
    def proxies(self) -> Proxies:
        """HTTP proxies of the process, for `eaves.http_client`."""

    @property
    def index(self) -> SentIndex:
        """The durable memory of which events were captured."""

    @property
    def stopping(self) -> bool:
        """Whether the source is to return from `run`."""

    def wait(self, seconds: float) -> bool:
        """Wait, at most until the source is to return; False when it is."""

    def on_stop(self, wake: Callable[[], None]) -> AbstractContextManager[None]:
        """Have `wake` called when the source is to return, while the block runs: for one that waits elsewhere."""

    def capture(self, frame: Frame) -> Outcome:
        """Apply the source's options (rate, crop, ...) to a frame and store its event; it is on disk on return.

        Raises:
            SpoolFullError: When the queue has no room now. The source keeps the frame and offers it again after a
                pause, or drops it for the cause `spool_full` when it can't be had again.
            SpoolError: When the queue can't be written now; likewise.
        """

    def drop(self, cause: Cause, count: int = 1) -> None:
        """Count frames that were passed over without being offered."""

    def report(self, state: State, reason: str = "") -> None:
        """Say what the source does now; a change is logged once, and repeating it logs nothing.

        Args:
            state: `watching`: new images are captured. `waiting`: what it reads is not there. `paused`: the queue is
                full.
            reason: Why it isn't watching, a sentence without credentials.
        """

    def reconnected(self) -> None:
        """Count a connection that was made anew after the first."""
