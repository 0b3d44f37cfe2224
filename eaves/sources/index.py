"""Durable memory of the events that a source has emitted."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol


class SentIndex(Protocol):
    """Ids of emitted events. `eaves.spool.Spool` implements it."""

    def seen(self, source: str, event_id: str) -> bool:
        """Return whether the event was emitted before, by this process or an earlier one.

        Raises:
            SpoolError: When the memory can't be read.
        """

    @property
    def added(self) -> int:
        """Number of ids that any source added since the process started; they may displace as many older ones."""

    def remember(self, source: str, event_ids: Collection[str]) -> None:
        """Remember ids as if their events had been emitted.

        Raises:
            SpoolError: When the memory can't be written.
        """

    def touch(self, source: str, event_ids: Collection[str]) -> int:
        """Mark remembered ids as still needed now, and ignore others; return how many were marked.

        Raises:
            SpoolError: When the memory can't be written.
        """

    def forget(self, before: float) -> int:
        """Forget ids that were neither emitted nor touched since `before`, Unix seconds; return how many.

        Raises:
            SpoolError: When the memory can't be written.
        """
