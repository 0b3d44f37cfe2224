"""What a failed request says: about the link, or about what was sent."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from eaves.delivery.rules import NO_ANSWER, Blame, blame, brief
from eaves.errors import EavesError, StatusError

LOGIN_STATUSES = frozenset({401, 403})
TOO_LARGE = 413


class Next(enum.Enum):
    """What is done about a request that failed."""

    WAIT = "wait"
    """The link or the receiver is at fault: nothing is given up on, and it is tried again."""
    SPLIT = "split"
    """It was too large: half as much is sent at once."""
    SUSPECT = "suspect"
    """The way is good, so something in it may be at fault: it is halved down to one event, which lets others pass."""
    GIVE_UP = "give up"
    """This one event is at fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A request that failed.

    Attributes:
        reason: Why, for people.
        status: HTTP status, 0 without an answer.
        refused: Whether the status says that this site isn't let in.
        asked_s: What Retry-After asks for, seconds; None without it.
        next: What is done about it.
    """

    reason: str
    status: int = NO_ANSWER
    refused: bool = False
    asked_s: float | None = None
    next: Next = Next.WAIT


def judge(error: EavesError, *, events: int, vouched: bool) -> Failure:
    """What a failure says.

    Args:
        error: What sending or probing raised.
        events: How many events were sent; 0 for a probe.
        vouched: Whether the exchange before it shows that the way and the token are good. Without that, a proxy or a
            login in the way may have answered, whatever the status.
    """
    if not isinstance(error, StatusError):
        return Failure(reason=brief(error.message))
    status = error.status
    return Failure(
        reason=brief(error.message),
        status=status,
        refused=status in LOGIN_STATUSES,
        asked_s=error.retry_after_s,
        next=_decide(status, events=events, vouched=vouched),
    )


def _decide(status: int, *, events: int, vouched: bool) -> Next:
    if not events:
        return Next.WAIT
    if status == TOO_LARGE and events > 1:
        return Next.SPLIT
    if not vouched:
        return Next.WAIT
    if status == TOO_LARGE:
        return Next.GIVE_UP
    if status in LOGIN_STATUSES or blame(status) is not Blame.WAY:
        return Next.SUSPECT
    return Next.WAIT
