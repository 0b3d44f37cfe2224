"""The durable memory of which events a source has emitted."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol


class SentIndex(Protocol):
    """The ids of emitted events. `eaves.spool.Spool` is one."""

    def seen(self, source: str, event_id: str) -> bool:
        """Whether the event was emitted before, by an earlier process too.

        Raises:
            SpoolError: When the memory can't be read.
        """

    @property
    def added(self) -> int:
        """Ids that were added since the process started, by any source: so many newer ones may push older ones out."""

    def remember(self, source: str, event_ids: Collection[str]) -> None:
        """Remember ids as if their events had been emitted.

        Raises:
            SpoolError: When the memory can't be written.
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
