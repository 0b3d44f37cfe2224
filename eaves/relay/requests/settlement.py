"""Handling of a request's entries, according to the receiver's answer or to the request's failure."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from eaves.delivery.response_rules import NO_ANSWER
from eaves.errors import SpoolFullError
from eaves.link import BatchAnswer, RefusedEvent
from eaves.relay.entry_selection import EntrySelector
from eaves.relay.foreign_entries import prefix_of, prefixes
from eaves.relay.link_state import LinkState
from eaves.relay.requests.request_failure import FailureAction, RequestFailure
from eaves.relay.requests.sender import Sender
from eaves.relay.requests.traffic import Traffic
from eaves.spool import Entry, Spool

TRIES_ALONE = 3
"""Number of attempts to send a single event that get no answer, each right after a successful probe, before other
events are sent first."""
FOREIGN = 403
"""Status of an event that the receiver assigns to another site. The intake queues no event of another site, so the
event belonged to this site then, and the receiver knows the site by another name now. The event is kept until the name
or the token is corrected."""

_log = logging.getLogger(__name__)


class Settlement:
    """Releases a request's entries, makes them dead letters or leaves them queued. For the forwarder's thread only.

    Args:
        spool: Spool that holds the entries.
        sender: Makes the requests.
        turns: Chooses the entries to send.
        traffic: Statistics of the requests; guarded by `state`.
        link_state: State of the link; guarded by `state`.
        state: Lock of the forwarder.
        hold: Pauses the forwarder because of a fault on this machine, such as a full disk.
    """

    def __init__(
        self,
        spool: Spool,
        sender: Sender,
        turns: EntrySelector,
        traffic: Traffic,
        link_state: LinkState,
        *,
        state: threading.Condition,
        hold: Callable[[str], None],
    ) -> None:
        self._spool = spool
        self._sender = sender
        self._turns = turns
        self._traffic = traffic
        self._link_state = link_state
        self._state = state
        self._hold = hold
        self._alone = (0, 0)
        self._doubted = 0

    def succeeded(self, lane: str, entries: Sequence[Entry], answer: BatchAnswer | None) -> str:
        """Release the entries that the receiver has, and turn those that it refuses for good into dead letters.

        Args:
            lane: Lane of the entries.
            entries: Entries of the request; one entry when only a part of it was sent.
            answer: Result for each entry; None after a part that is followed by more.

        Returns:
            Why every entry is refused as another site's; empty when at least one isn't.

        Raises:
            SpoolError: When the spool can't be written.
        """
        self._alone = (0, 0)
        self._turns.record_success(lane, entries if answer is not None else ())
        return "" if answer is None else self._settle(lane, entries, answer)

    def failed(self, lane: str, entries: Sequence[Entry], failure: RequestFailure) -> None:
        """Handle a failed request: wait, send less, or make the one event that is at fault a dead letter.

        Args:
            lane: Lane of the entries.
            entries: Entries of the request; one entry when only a part of it was sent.
            failure: Classified failure.

        Raises:
            SpoolError: When the spool can't be written.
        """
        entry, alone = entries[0], len(entries) == 1
        again = alone and entry.attempts > 0
        with self._state:
            resized = not again or self._sender.is_under_way(entry)
            self._traffic.failed(
                lane, entries, failure, attempted_bytes=self._sender.attempted_bytes, is_resized=resized
            )
            if failure.next is FailureAction.WAIT:
                self._link_state.send_failed(failure.reason, failure.status, asked_s=failure.asked_s)
            elif failure.next in (FailureAction.SUSPECT, FailureAction.GIVE_UP):
                event = entry.event
                named = f"event {event.id[:64]} of {event.source[:128]}: " if alone else ""
                self._link_state.event_failed(f"{named}{failure.reason}", failure.status, again=again)
            hangs = self._hangs_alone(entries, failure)
            at_fault = alone and self._is_at_fault(lane, entry, failure)
        if failure.next is FailureAction.AS_BATCH:
            self._sender.prefer_batch(entry)
        elif at_fault:
            self._give_up(lane, entry, RefusedEvent(index=0, status=failure.status, detail=failure.reason))
        elif hangs or (alone and failure.next is FailureAction.SUSPECT):
            self._set_aside(lane, entry, failure.reason)

    def _settle(self, lane: str, entries: Sequence[Entry], answer: BatchAnswer) -> str:
        refused = {one.index: one for one in answer.refused}
        self._spool.ack_many([entry for index, entry in enumerate(entries) if index not in refused])
        foreign = {index: one for index, one in refused.items() if one.status == FOREIGN}
        taken = [entry for index, entry in enumerate(entries) if index not in foreign]
        known = prefixes(taken)
        self._turns.foreign.release(lane, taken)
        held = []
        for index, one in refused.items():
            entry = entries[index]
            if index not in foreign:
                self._give_up(lane, entry, one)
            elif entry.attempts or prefix_of(entry.event.source) in known:  # not because of its site's name
                self._set_aside(lane, entry, f"the receiver refuses the event (403): {one.detail}")
            else:
                held.append(entry)
        if held:
            self._hold_foreign(lane, held, f"the receiver refuses the event (403): {foreign[min(foreign)].detail}")
        if len(refused) < len(entries) or any(one.status != FOREIGN for one in refused.values()):
            return ""
        problem = f"the waiting events belong to another site than the token: {refused[0].detail}"
        return (
            f"{problem}; give the relay the former name and token of the site, or delete the events of the former name"
        )

    def _is_at_fault(self, lane: str, entry: Entry, failure: RequestFailure) -> bool:
        """Return whether an event becomes a dead letter after it was refused in a request of its own."""
        if failure.next is FailureAction.GIVE_UP:
            again, self._doubted = self._doubted == entry.seq, entry.seq
            return again
        return failure.next is FailureAction.SUSPECT and self._traffic.is_at_fault(lane, entry)

    def _hangs_alone(self, entries: Sequence[Entry], failure: RequestFailure) -> bool:
        """Return whether a single event repeatedly gets no answer, each time right after a successful probe.

        A device on the network path resets the connection for this event, or sending it takes longer than the link is
        ever up. The event never becomes a dead letter for that, but other events are sent first.
        """
        seq, tries = entries[0].seq, self._alone[1]
        if len(entries) > 1 or failure.next is not FailureAction.WAIT or failure.status != NO_ANSWER or failure.refused:
            self._alone = (0, 0)
            return False
        self._alone = (seq, tries + 1 if self._alone[0] == seq else 1)
        most = TRIES_ALONE if not entries[0].attempts or self._sender.is_under_way(entries[0]) else 1
        return self._alone[1] >= most

    def _give_up(self, lane: str, entry: Entry, refusal: RefusedEvent) -> None:
        self._sender.put_off(entry)
        event = entry.event
        reason = f"the receiver refuses the event ({refusal.status}): {refusal.detail}"
        try:
            self._spool.dead_letter(entry, reason, refusal.status)
        except SpoolFullError as error:
            self._set_aside(lane, entry, error.message)
            self._hold(error.message)
            return
        self._turns.gave_up(lane, entry)
        with self._state:
            self._traffic.gave_up(lane)
        fields = {"event_id": event.id, "source": event.source}
        _log.warning(
            "event %s of %s is not forwarded and becomes a dead letter: %s",
            event.id[:64],
            event.source[:128],
            reason,
            extra=fields,
        )

    def _hold_foreign(self, lane: str, entries: Sequence[Entry], reason: str) -> None:
        """Hold entries that the receiver assigns to another site, until it accepts the first of them."""
        for entry in entries:
            self._sender.put_off(entry)
        self._turns.foreign.refused(lane, entries, reason)
        with self._state:
            for _ in entries:
                self._traffic.set_aside(lane)

    def _set_aside(self, lane: str, entry: Entry, reason: str) -> None:
        """Postpone the retry of an entry, so that other entries are sent first."""
        self._sender.put_off(entry)
        self._turns.set_aside(lane, entry, reason)
        with self._state:
            self._traffic.set_aside(lane)
