"""How much a spool keeps, of what, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

DAY_S = 86_400.0


class WhenFull(Enum):
    """What happens to a new dead letter when their budget is used up."""

    EXPIRE = "expire"
    """The oldest dead letters are deleted, counted and logged by id."""
    REFUSE = "refuse"
    """The entry stays queued and its lane pauses until somebody retries, drops or purges dead letters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolLimits:
    """The bounds of one spool.

    Attributes:
        max_bytes: Bytes of queued events (data and attributes) before `put` refuses. 1 GiB: two hours of a camera that
            sends 140 KB a second.
        max_entries: Queued deliveries before `put` refuses.
        dead_max_bytes: Bytes of dead letters. They have a budget of their own, so that what nobody takes can't use up
            the room that good images need.
        dead_max_age_s: Age at which a dead letter expires, seconds. 30 days: somebody looks at it once a month.
        dead_when_full: What happens beyond `dead_max_bytes`.
        seen_max_entries: Ids that `put(once=True)` remembers; about 60 bytes of the file each. Beyond it the oldest are
            forgotten, and an image that is found again after that is sent again, under the same id.
    """

    max_bytes: int = 1 << 30
    max_entries: int = 1_000_000
    dead_max_bytes: int = 256 << 20
    dead_max_age_s: float = 30 * DAY_S
    dead_when_full: WhenFull = WhenFull.EXPIRE
    seen_max_entries: int = 1_000_000
