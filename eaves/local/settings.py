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
        "Maximum size in bytes of the log of one function or source, in two files; the oldest "
        "lines are deleted. The default holds the last 10,000 predictions of a function, of "
        "about 300 bytes each.",
        minimum=10_000,
    )
    history_max_bytes: int = setting(
        MAX_BYTES,
        "Maximum size of the history in bytes; the oldest records are deleted. The default is "
        "several times the usual size of its 10,000 records.",
        minimum=1_000_000,
    )
    spool_max_bytes: int = setting(
        1_000_000_000,
        "Maximum size in bytes of the events that wait for functions and subscribers; when it "
        "is reached, new events are refused with 429. The default holds two hours of a camera "
        "that sends 140 KB a second.",
        minimum=1_000_000,
    )
    spool_dead_max_bytes: int = setting(
        200_000_000,
        "Maximum size of the dead letters in bytes, in addition to `spool_max_bytes`. The "
        "default is a fifth of `spool_max_bytes`, so that both fit a small card.",
        minimum=0,
    )
    spool_dead_max_age_days: float = setting(
        30.0,
        "Days after which a dead letter is deleted. The default leaves time for a person who looks once a month.",
        minimum=0,
    )
    spool_dead_when_full: str = setting(
        "expire",
        "Action when `spool_dead_max_bytes` is reached: `expire` deletes the oldest dead "
        "letters, and counts and logs each; `refuse` keeps retrying the new event until a "
        "person has made room.",
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
