"""Durable memory of the events that a source has emitted, so that an image that is found again isn't sent again."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol


class SentIndex(Protocol):
    """Ids of the events that sources have emitted. `eaves.spool.Spool` implements this interface."""

    def seen(self, source: str, event_id: str) -> bool:
        """Return whether the event was emitted before, by this process or an earlier one.

        Raises:
            SpoolError: When the memory can't be read.
        """

    @property
    def added(self) -> int:
        """Number of ids that all sources have added since the process started; each may displace an older id."""

    def remember(self, source: str, event_ids: Collection[str]) -> None:
        """Remember ids as if their events had been emitted.

        Raises:
            SpoolError: When the memory can't be written.
        """

    def touch(self, source: str, event_ids: Collection[str]) -> int:
        """Mark ids as still needed now, so that they aren't forgotten; return how many of them were remembered.

        Raises:
            SpoolError: When the memory can't be written.
        """

    def forget(self, before: float) -> int:
        """Forget ids that were neither emitted nor marked as needed since `before`, Unix seconds; return how many.

        Raises:
            SpoolError: When the memory can't be written.
        """
