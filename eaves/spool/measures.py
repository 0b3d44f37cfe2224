"""Counts and sizes of a spool's entries, dead letters and remembered ids, read from counters in its file."""

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
    """Queries for the counts and sizes of a spool; a base class of `Spool`."""

    @abstractmethod
    def _read(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return the rows of a query."""

    def lanes(self) -> list[LaneStatus]:
        """Return the status of each lane that has entries, sorted by name."""
        return [
            LaneStatus(lane=lane, queued=queued, dead=dead, queued_bytes=waiting, dead_bytes=kept, oldest_at=oldest)
            for lane, queued, dead, waiting, kept, oldest in self._read(_LANES)
        ]

    def depth(self, lane: str | None = None) -> int:
        """Return the number of entries queued on one lane or on all lanes; dead letters don't count."""
        return sum(queued for name, (queued, _) in self.counts().items() if lane in (None, name))

    def counts(self) -> dict[str, tuple[int, int]]:
        """Return a mapping from lane to its numbers of queued entries and dead letters, for lanes that have any."""
        rows = self._read("SELECT lane, queued, dead FROM lanes")
        return {lane: (queued, dead) for lane, queued, dead in rows}

    def size_bytes(self) -> int:
        """Return the size of the queued events in bytes, as `max_bytes` counts them.

        The file itself never shrinks; SQLite reuses the space of deleted entries.
        """
        return int(self._usage("queued_bytes"))

    def dead_bytes(self) -> int:
        """Return the size of the dead letters in bytes, as their budget counts them."""
        return int(self._usage("dead_bytes"))

    def expired(self) -> int:
        """Return how many dead letters were deleted to keep their budget since the file was created."""
        return int(self._usage("expired"))

    def remembered(self) -> int:
        """Return how many ids `put(once=True)` remembers in the `seen` table."""
        return int(self._usage("seen"))

    def tried(self, lane: str, limit: int) -> list[tuple[int, float]]:
        """Return the entries of a lane that failed and wait for another attempt, ordered by due time.

        Each is a pair: the sequence number, and the Unix time in seconds that `retry` set. An entry that an operator
        wants to be tried now is due at `FREED`.
        """
        return [(seq, due) for seq, due in self._read(_TRIED, (lane, limit))]

    def is_queued(self, seq: int) -> bool:
        """Return whether the entry exists and is queued, not a dead letter."""
        return bool(self._read("SELECT 1 FROM deliveries WHERE seq = ? AND state = 'queued'", (seq,)))

    def _usage(self, column: str) -> int:
        return int(self._read(f"SELECT {column} FROM usage")[0][0])  # noqa: S608 - constants
