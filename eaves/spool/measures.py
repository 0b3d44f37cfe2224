"""What a spool holds, from its counters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from eaves.spool.entry import LaneStatus

_LANES = (
    "SELECT lane, queued, dead, queued_bytes, dead_bytes, (SELECT put_at FROM events JOIN deliveries USING(eid)"
    " WHERE seq = (SELECT min(seq) FROM (SELECT min(seq) AS seq FROM deliveries d"
    " WHERE d.lane = lanes.lane AND state = 'queued' AND not_before = 0 UNION ALL SELECT min(seq) FROM deliveries d"
    " WHERE d.lane = lanes.lane AND state = 'queued' AND not_before > 0))) FROM lanes ORDER BY lane"
)

_TRIED = (
    "SELECT seq, not_before FROM deliveries WHERE lane = ? AND state = 'queued' AND not_before > 0"
    " AND attempts > 0 ORDER BY not_before LIMIT ?"
)


class SpoolMeasures(ABC):
    """What is asked of a spool about what it holds; a part of `Spool`."""

    @abstractmethod
    def _read(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """The rows of a query."""

    def lanes(self) -> list[LaneStatus]:
        """What each lane holds that holds anything, by name."""
        return [
            LaneStatus(lane=lane, queued=queued, dead=dead, queued_bytes=waiting, dead_bytes=kept, oldest_at=oldest)
            for lane, queued, dead, waiting, kept, oldest in self._read(_LANES)
        ]

    def depth(self, lane: str | None = None) -> int:
        """Entries queued on one lane or all; dead ones don't count."""
        return sum(queued for name, (queued, _) in self.counts().items() if lane in (None, name))

    def counts(self) -> dict[str, tuple[int, int]]:
        """Lane to entries queued and dead, for lanes that have any."""
        rows = self._read("SELECT lane, queued, dead FROM lanes")
        return {lane: (queued, dead) for lane, queued, dead in rows}

    def size_bytes(self) -> int:
        """Bytes of the queued events, as `max_bytes` counts them; the file never shrinks, it reuses its room."""
        return int(self._usage("queued_bytes"))

    def dead_bytes(self) -> int:
        """Bytes of the dead letters, as their budget counts them."""
        return int(self._usage("dead_bytes"))

    def expired(self) -> int:
        """Dead letters that were deleted to keep their budget, since the file was made."""
        return int(self._usage("expired"))

    def remembered(self) -> int:
        """Ids that `once` remembers."""
        return int(self._usage("seen"))

    def tried(self, lane: str, limit: int) -> list[tuple[int, float]]:
        """Entries of a lane that failed and wait: number, and when each is due as `retry` was told, the first first.

        One that an operator wants to be tried now is due at `FREED`.
        """
        return [(seq, due) for seq, due in self._read(_TRIED, (lane, limit))]

    def is_queued(self, seq: int) -> bool:
        """Whether an entry is there and no dead letter."""
        return bool(self._read("SELECT 1 FROM deliveries WHERE seq = ? AND state = 'queued'", (seq,)))

    def _usage(self, column: str) -> int:
        return int(self._read(f"SELECT {column} FROM usage")[0][0])  # noqa: S608 - a name of ours
