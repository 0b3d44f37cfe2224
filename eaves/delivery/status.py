"""How the delivery of one lane is doing, for status, metrics and people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneDelivery:
    """One lane's delivery.

    Attributes:
        lane: Its name.
        paused: Whether the way to the receiver is held to be broken: one entry is tried now and then.
        reason: Why it is paused, empty otherwise.
        status: HTTP status that paused it, 0 without an answer.
        since: Since when it is paused, Unix seconds; None otherwise.
        next_try_at: When the next entry is tried, Unix seconds; None when it isn't paused.
        attempts: `delivered`, `retried` and `dead` to their counts since the process started.
    """

    lane: str
    paused: bool = False
    reason: str = ""
    status: int = 0
    since: float | None = None
    next_try_at: float | None = None
    attempts: Mapping[str, int] = field(default_factory=dict)
