"""The state of one lane's delivery, for status, metrics and display."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneDelivery:
    """The state of one lane's delivery.

    Attributes:
        lane: Name of the lane.
        paused: Whether the network path to the receiver counts as broken; then one entry is tried from time to time.
        reason: Reason for the pause; empty when the lane isn't paused.
        status: HTTP status that paused the lane; 0 when there was no response.
        since: Time at which the pause began, Unix seconds; None when the lane isn't paused.
        next_try_at: Time of the next attempt, Unix seconds; None when the lane isn't paused.
        attempts: Number of attempts since the process started, by outcome: `delivered`, `retried` and `dead`.
    """

    lane: str
    paused: bool = False
    reason: str = ""
    status: int = 0
    since: float | None = None
    next_try_at: float | None = None
    attempts: Mapping[str, int] = field(default_factory=dict)
