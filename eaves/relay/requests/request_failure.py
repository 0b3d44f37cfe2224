"""Classification of failed requests: whether the link or the events are at fault, and what is done next."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from eaves.delivery.response_rules import NO_ANSWER, Blame, find_blame, shorten
from eaves.errors import EavesError, StatusError

LOGIN_STATUSES = frozenset({401, 403})
TOO_LARGE = 413
LARGE_BYTES = 65_536
"""Minimum size of a single event's body, bytes, for a 413 answer to count as the event's fault. Servers have no smaller
limit, and a proxy
that answers every request with 413 must not turn small events into dead letters."""
GATEWAY_STATUSES = frozenset({502, 504})
"""Statuses of a gateway when the receiver behind it ends the connection or takes too long. A successful probe shows
that the receiver runs, so something in the request may be at fault."""
SMALLEST_PART_BYTES = 4_096
"""Minimum size of a part when parts are halved after failures, bytes."""


class RequestKind(enum.Enum):
    """Kind of a request to the receiver, which determines what its answer says."""

    BATCH = "batch"
    """A batch of events; the answer has a result for each event."""
    PICTURE = "picture"
    """A single image in binary mode; the answer is only an HTTP status."""
    PART = "part"
    """A part of a large body, or an empty part, which asks how many bytes of the body the receiver has."""
    UPLOADED = "uploaded"
    """The request that turns uploaded parts into an event; the answer has a result for the event."""


class FailureAction(enum.Enum):
    """What the relay does after a failed request."""

    WAIT = "wait"
    """The link or the receiver is at fault; the request is retried and no event is given up."""
    SPLIT = "split"
    """The request was too large; it is sent again at once with half as many events, or as a smaller part."""
    AS_BATCH = "as batch"
    """An image in binary mode was refused; it is sent again as a batch, whose answer says whether the event is at
    fault.
    """
    SUSPECT = "suspect"
    """The link works, so an event may be at fault; the batch is halved, down to a single event that others can
    overtake.
    """
    GIVE_UP = "give up"
    """The single event in the request is at fault if it is refused once more after another successful probe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFailure:
    """A request that failed.

    Attributes:
        reason: Why the request failed, for people.
        status: HTTP status, 0 without an answer.
        refused: Whether the status says that the receiver rejects this site.
        asked_s: Pause that the Retry-After header asks for, seconds; None without the header.
        next: Action that follows.
    """

    reason: str
    status: int = NO_ANSWER
    refused: bool = False
    asked_s: float | None = None
    next: FailureAction = FailureAction.WAIT


def classify_failure(
    error: EavesError, *, events: int, kind: RequestKind = RequestKind.BATCH, body_bytes: int = 0
) -> RequestFailure:
    """Classify a failed request or probe.

    A probe succeeded before a request of events, so no login page or proxy blocks every request.

    Args:
        error: Error that sending or probing raised.
        events: Number of events in the request; 0 for a probe.
        kind: Kind of the request.
        body_bytes: Size of the request's body, bytes.
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
    if find_blame(status) in (Blame.WAY, Blame.LATER) and status not in LOGIN_STATUSES | {TOO_LARGE}:
        return FailureAction.WAIT
    if kind is RequestKind.PICTURE and status < 500:
        return FailureAction.AS_BATCH
    return FailureAction.GIVE_UP if status == TOO_LARGE and body_bytes >= LARGE_BYTES else FailureAction.SUSPECT
