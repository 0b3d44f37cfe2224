"""What every source has in common, and what it needs from the agent that runs it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, Protocol

State = Literal["watching", "waiting", "paused"]
"""`watching`: new images are captured. `waiting`: what the source reads is not there. `paused`: the spool is full."""


class Source(Protocol):
    """Turns images into events until it is stopped."""

    def run(self) -> None:
        """Capture images until `stop` is called.

        Whatever can go away and come back is waited for, not raised. Any exception is a bug; the supervisor calls `run`
        again after a pause.
        """

    def stop(self) -> None:
        """Make `run` return soon. May be called from any thread, before `run` too."""

    @property
    def state(self) -> State:
        """What the source is doing."""

    @property
    def reason(self) -> str:
        """Why it is waiting or paused; empty while it is watching."""

    @property
    def captured(self) -> int:
        """Images handed to the spool since the process started."""

    @property
    def dropped(self) -> Mapping[str, int]:
        """Images passed over since the process started, by cause."""

    @property
    def last_captured_at(self) -> float | None:
        """When the last image was captured, Unix seconds; None before the first."""


class SentIndex(Protocol):
    """The durable memory of which events a source has emitted. `eaves.spool.Spool` is one."""

    def seen(self, source: str, event_id: str) -> bool:
        """Whether the event was emitted before, by an earlier process too.

        Raises:
            SpoolError: When the memory can't be read.
        """

    def touch(self, source: str, event_ids: Collection[str]) -> int:
        """Mark remembered ids as still needed now, and ignore others; returns how many were marked.

        Raises:
            SpoolError: When the memory can't be written.
        """

    def forget(self, before: float) -> int:
        """Forget ids that were neither emitted nor touched since `before`, Unix seconds; returns how many.

        Raises:
            SpoolError: When the memory can't be written.
        """
