"""Settings of the local platform, for `eaves up` and not for eaves.yaml, as projects may share a platform."""

from __future__ import annotations

from dataclasses import dataclass

from eaves.config import setting
from eaves.history import MAX_BYTES
from eaves.spool import SpoolLimits, WhenFull
from eaves.spool.limits import DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """Limits of the disk space for the local platform's queue and records."""

    log_max_bytes: int = setting(
        10_000_000,
        "Bytes that the log of one function or source may take, in two files; the oldest lines go. The default holds "
        "the last 10,000 predictions of a function, of about 300 bytes each.",
        minimum=10_000,
    )
    history_max_bytes: int = setting(
        MAX_BYTES,
        "Bytes that the history may take; the oldest records go. The default is several times what its 10,000 "
        "records usually take.",
        minimum=1_000_000,
    )
    spool_max_bytes: int = setting(
        1_000_000_000,
        "Bytes of events that wait for functions and subscribers; beyond it new events are refused with 429. The "
        "default is two hours of a camera that sends 140 KB a second.",
        minimum=1_000_000,
    )
    spool_dead_max_bytes: int = setting(
        200_000_000,
        "Bytes of events that were given up on, apart from `spool_max_bytes`; a fifth of it, so that both fit a small "
        "card.",
        minimum=0,
    )
    spool_dead_max_age_days: float = setting(
        30.0, "Days after which an event that was given up on expires; somebody looks once a month.", minimum=0
    )
    spool_dead_when_full: str = setting(
        "expire",
        "Beyond `spool_dead_max_bytes`: `expire` deletes the oldest, counted and logged by id; `refuse` keeps trying "
        "the new one until somebody has looked.",
        choices=("expire", "refuse"),
    )

    def limits(self) -> SpoolLimits:
        """Return the limits of the broker's queue."""
        return SpoolLimits(
            max_bytes=self.spool_max_bytes,
            dead_max_bytes=self.spool_dead_max_bytes,
            dead_max_age_s=self.spool_dead_max_age_days * DAY_S,
            dead_when_full=WhenFull(self.spool_dead_when_full),
        )
