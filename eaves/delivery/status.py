"""The state of deliveries, for status, metrics and display."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from eaves.delivery.sink_state import SinkStatus


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkView:
    """The state of a receiver at one moment, as one deliverer sees it.

    Attributes:
        state: Whether the receiver is reached.
        since: When this state began, Unix seconds.
        since_age_s: Time in this state, seconds, on the monotonic clock.
        reason: Why nothing is delivered; empty while it works.
        status: HTTP status of the failure, 0 without an answer.
        paused: Whether nothing gets through, because of the receiver, the way to it, or this machine.
        next_try_at: When the next attempt is made, Unix seconds.
    """

    state: SinkStatus
    since: float
    since_age_s: float
    reason: str
    status: int
    paused: bool
    next_try_at: float
