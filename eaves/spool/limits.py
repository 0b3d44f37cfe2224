"""Limits on the size, number and age of what a spool keeps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

DAY_S = 86_400.0


class WhenFull(Enum):
    """Policy for a new dead letter when the dead letters' budget is used up."""

    EXPIRE = "expire"
    """Delete the oldest dead letters; each is counted and logged by id."""
    REFUSE = "refuse"
    """Keep the entry queued and pause its lane until an operator retries, drops or purges dead letters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolLimits:
    """Limits of one spool.

    Attributes:
        max_bytes: Maximum size of the queued events (data and attributes) in bytes, above which `put` refuses. The
            default, 1 GiB, holds two hours of a camera that sends 140 KB a second.
        max_entries: Maximum number of queued entries, above which `put` refuses.
        dead_max_bytes: Maximum size of the dead letters in bytes. They have a budget of their own, so that events that
            no receiver accepts can't use up the space that good events need.
        dead_max_age_s: Age at which a dead letter expires, in seconds. The default, 30 days, assumes that an operator
            checks them once a month.
        dead_when_full: Policy when `dead_max_bytes` is reached.
        seen_max_entries: Maximum number of ids that `put(once=True)` remembers; each takes about 60 bytes of the file.
            Beyond it the oldest ids are forgotten, and an image that a source finds again after that is sent again,
            under the same id.
    """

    max_bytes: int = 1 << 30
    max_entries: int = 1_000_000
    dead_max_bytes: int = 256 << 20
    dead_max_age_s: float = 30 * DAY_S
    dead_when_full: WhenFull = WhenFull.EXPIRE
    seen_max_entries: int = 1_000_000
