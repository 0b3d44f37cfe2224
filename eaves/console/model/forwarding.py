"""Whether the relay has delivered an event to the cloud."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from eaves.admin import Queue
from eaves.admin.queue import EventTracer
from eaves.errors import EavesError, NotFoundError
from eaves.history import Record
from eaves.spool import LedgerLine

ForwardingState = Literal["no_link", "unknown", "waiting", "delivered", "refused", "removed", "lost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarding:
    """What became of one event at the relay.

    Attributes:
        state: `no_link` without a relay; `unknown` when no relay has a line for the event, or none can be asked;
            `waiting` in the relay's queue; `delivered` to the receiver in the cloud; `refused` by it for good;
            `removed` from the queue by an operator or because the dead letters' budget was used up; `lost` with a
            damaged part of the queue's file.
        since: Time of the last change, Unix seconds; None when it isn't known.
        reason: Reason for the state; empty when there is none.
        queue: Name of the relay's queue; empty when no relay has the event.
    """

    state: ForwardingState
    since: float | None = None
    reason: str = ""
    queue: str = ""

    @property
    def words(self) -> str:
        """The state in words, such as `waiting in the relay's queue`."""
        text = _WORDS[self.state]
        return f"{text}: {self.reason}" if self.reason else text


_WORDS: Mapping[ForwardingState, str] = {
    "no_link": "not forwarded: no link to a cloud is set up",
    "unknown": "unknown",
    "waiting": "waiting in the relay's queue",
    "delivered": "delivered to the cloud",
    "refused": "refused by the cloud",
    "removed": "removed from the relay's queue",
    "lost": "lost: a part of the relay's file is damaged",
}
_STATES: Mapping[str, ForwardingState] = {
    "queued": "waiting",
    "released": "delivered",
    "dead": "refused",
    "removed": "removed",
}
NO_LINE = "the relay doesn't know this event; it may still be on its way to the relay"


def find_forwarding(queues: Mapping[str, Queue], record: Record) -> Forwarding:
    """Ask the relays about one event.

    Args:
        queues: The platform's queues by name; those without a ledger, which no relay has, are left out.
        record: Record of the event.
    """
    found = Forwarding(state="no_link")
    for name, queue in queues.items():
        if not isinstance(queue, EventTracer):
            found = Forwarding(state="unknown", reason=f"the queue {name} can't be asked about one event")
            continue
        try:
            line = queue.trace(*record.identity)
        except NotFoundError:  # a queue without a ledger: not a relay's
            continue
        except EavesError as error:
            found = Forwarding(state="unknown", reason=f"the queue {name} can't be asked: {error.message}")
            continue
        if line is not None:
            return _describe(name, line)
        if found.state == "no_link":
            found = Forwarding(state="unknown", reason=NO_LINE)
    return found


def _describe(name: str, line: LedgerLine) -> Forwarding:
    state = _STATES.get(line.state, "lost")
    return Forwarding(state=state, since=line.changed_at, reason="" if state == "lost" else line.reason, queue=name)
