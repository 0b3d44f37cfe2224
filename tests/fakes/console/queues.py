"""Real queues with dead letters, for tests of the console."""

from collections.abc import Iterable
from dataclasses import dataclass

from eaves.events import Event
from eaves.spool import Spool

LANE = "trigger/flowers/flowers"
CORRUPT = 'answered 422: {"type": "urn:eaves:problem:image", "status": 422, "detail": "the image is corrupt"}'


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why an event became a dead letter.

    Attributes:
        reason: The recorded reason.
        status: The HTTP status; 0 without an answer.
    """

    reason: str = CORRUPT
    status: int = 422


def put_dead(spool: Spool, events: Iterable[Event], failure: Failure | None = None) -> list[int]:
    """Put events into a lane and make dead letters of them; return their numbers.

    Args:
        spool: The queue, whose lane has no entry that is due.
        events: The events.
        failure: Why they died.
    """
    failure, numbers = failure or Failure(), []
    for event in events:
        spool.put(event, lanes=(LANE,))
        (entry,) = spool.peek(LANE)
        spool.dead_letter(entry, failure.reason, failure.status)
        numbers.append(entry.seq)
    return numbers
