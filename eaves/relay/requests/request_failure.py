"""What a failed request says: about the link, or about what was sent."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from eaves.delivery.response_rules import NO_ANSWER, Blame, find_blame, shorten
from eaves.errors import EavesError, StatusError

LOGIN_STATUSES = frozenset({401, 403})
TOO_LARGE = 413
LARGE_BYTES = 65_536
"""A body from which 413 is believed of a single event. No server means a smaller one, which a proxy that answers so to
everything would have given up on."""
GATEWAY_STATUSES = frozenset({502, 504})
"""What a gateway answers when the receiver behind it ends the connection or takes too long. A good probe shows that the
receiver is there, so something in the request may be at fault."""
SMALLEST_PART_BYTES = 4_096
"""A part is halved down to this."""


class RequestKind(enum.Enum):
    """What a request is."""

    BATCH = "batch"
    """Events whose answer accounts for each of them."""
    PICTURE = "picture"
    """A picture that is sent as it is; it gets a status only."""
    PART = "part"
    """A part of a large picture, or an empty one that asks how much is there."""
    UPLOADED = "uploaded"
    """What says that the parts are an event; its answer accounts for it."""


class FailureAction(enum.Enum):
    """What is done about a request that failed."""

    WAIT = "wait"
    """The link or the receiver is at fault: nothing is given up on, and it is tried again."""
    SPLIT = "split"
    """It was too large: half as much is sent at once, or a smaller part."""
    AS_BATCH = "as batch"
    """A picture that was sent as it is was refused: it is sent as a batch, whose answer says whether it is at fault."""
    SUSPECT = "suspect"
    """The way is good, so something in it may be at fault: it is halved down to one event, which lets others pass."""
    GIVE_UP = "give up"
    """This one event is at fault, if it is refused once more after another good probe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFailure:
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
    next: FailureAction = FailureAction.WAIT


def classify_failure(
    error: EavesError, *, events: int, kind: RequestKind = RequestKind.BATCH, body_bytes: int = 0
) -> RequestFailure:
    """What a failure says. A probe got through before it, so a login page or a proxy in the way has let that pass.

    Args:
        error: What sending or probing raised.
        events: How many events were sent; 0 for a probe.
        kind: What was sent.
        body_bytes: The body that was sent.
    """
    if not isinstance(error, StatusError):
        return RequestFailure(reason=shorten(error.message))
    status = error.status
    return RequestFailure(
        reason=shorten(error.message),
        status=status,
        refused=status in LOGIN_STATUSES,
        asked_s=error.retry_after_s,
        next=_decide(status, events=events, kind=kind, body_bytes=body_bytes),
    )


def _decide(status: int, *, events: int, kind: RequestKind, body_bytes: int) -> FailureAction:
    if not events:
        return FailureAction.WAIT
    if status == TOO_LARGE and (events > 1 or (kind is RequestKind.PART and body_bytes > SMALLEST_PART_BYTES)):
        return FailureAction.SPLIT
    if status == TOO_LARGE and kind is RequestKind.PART and not body_bytes:
        return FailureAction.GIVE_UP  # of all of it, as there was nothing in this one
    if status in GATEWAY_STATUSES and kind is not RequestKind.PART:
        return FailureAction.SUSPECT
    if find_blame(status) is Blame.WAY and status not in LOGIN_STATUSES:
        return FailureAction.WAIT
    if kind is RequestKind.PICTURE and status < 500:
        return FailureAction.AS_BATCH
    return FailureAction.GIVE_UP if status == TOO_LARGE and body_bytes >= LARGE_BYTES else FailureAction.SUSPECT
