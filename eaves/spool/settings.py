"""Settings of the durable queue of a process: its file, its limits, and its door for operators."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eaves.config import setting
from eaves.spool.limits import DAY_S, SpoolLimits, WhenFull

ATTRIBUTES_BYTES = 65_536
"""Room that the spool needs for an event's attributes, in addition to its data, bytes. A path of 4,096 bytes takes up
to 24 KB of JSON, and the rest is for the extension attributes that K_CE_OVERRIDES adds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolBudget:
    """Settings of the disk space of a durable queue."""

    spool_max_bytes: int = setting(
        1_000_000_000,
        "Maximum size in bytes of the events that wait. When it is reached, the sources of an agent wait, and a server "
        "answers 429, so that senders keep their events.",
        minimum=1_000_000,
    )
    spool_dead_max_bytes: int = setting(
        200_000_000,
        "Maximum size in bytes of the dead letters, in addition to `spool_max_bytes`. The default is a fifth of the "
        "default of `spool_max_bytes`, so that both fit a small card.",
        minimum=0,
    )
    spool_dead_max_age_days: float = setting(
        30.0,
        "Days after which a dead letter is deleted. The default leaves time for a person who looks once a month.",
        minimum=0,
    )
    spool_dead_when_full: str = setting(
        "expire",
        "Action when `spool_dead_max_bytes` is reached: `expire` deletes the oldest dead letters, and counts and logs "
        "each; `refuse` pauses delivery until a person has made room.",
        choices=("expire", "refuse"),
    )

    def limits(self, *, entries: int = 1_000_000, remembered: int = 1_000_000) -> SpoolLimits:
        """Return the limits of the spool.

        Args:
            entries: Maximum number of entries that wait.
            remembered: Number of event ids that the spool remembers.
        """
        return SpoolLimits(
            max_bytes=self.spool_max_bytes,
            max_entries=entries,
            seen_max_entries=remembered,
            dead_max_bytes=self.spool_dead_max_bytes,
            dead_max_age_s=self.spool_dead_max_age_days * DAY_S,
            dead_when_full=WhenFull(self.spool_dead_when_full),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolSettings(SpoolBudget):
    """Settings that every process with a durable queue has."""

    spool: Path = setting(
        Path("/spool/queue.db"), "Path of the durable queue; it must be on a disk that outlives the process."
    )
    admin_socket: Path | None = setting(
        None,
        "Path of the Unix socket on which the process's own user can list and change the queue. The default is "
        "`socket` in the folder `NAME.admin` beside the spool NAME.",
    )
    log_json: bool = setting(True, "Log JSON lines instead of plain text.")

    def find_room_fault(self, max_bytes: int) -> str:
        """Return why an event with so many bytes of data doesn't fit into the spool; empty when it does."""
        needed = max_bytes + ATTRIBUTES_BYTES
        if self.spool_max_bytes >= needed:
            return ""
        return f"must fit an event of max_bytes and its attributes: at least {needed} (got {self.spool_max_bytes})"
