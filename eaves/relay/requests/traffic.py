"""Statistics of the relay's requests, which decide how much is sent next, how fast, and which event is at fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from eaves.delivery.refusal_history import RefusalHistory
from eaves.delivery.response_rules import NO_ANSWER
from eaves.relay.link_report import ForwardedCounts
from eaves.relay.requests.batch_size import TARGET_S, BatchSize
from eaves.relay.requests.request_failure import FailureAction, RequestFailure
from eaves.relay.requests.sender import SentRequest
from eaves.relay.requests.throughput import Throughput, ThroughputSample
from eaves.spool import Entry


class Traffic:
    """Statistics of a forwarder's requests. Not thread-safe; the caller holds a lock.

    Args:
        classes: Lanes of the spool.
        rate_bytes: Maximum average rate, bytes per second; 0 for no limit.
        began_at: Current monotonic time, seconds.

    Attributes:
        counts: Numbers of forwarded events.
        sendable_at: When the rate allows the next request, on the monotonic clock.
    """

    def __init__(self, classes: Sequence[str], *, rate_bytes: int, began_at: float) -> None:
        self.counts = ForwardedCounts()
        self.sendable_at = began_at
        self._rate_bytes = rate_bytes
        self._throughput = Throughput()
        self._sizes = {lane: BatchSize() for lane in classes}
        # The relay sends large events in parts and probes the receiver before it suspects an event.
        self._evidence = {lane: RefusalHistory(max_refused_share=1.0) for lane in classes}
        self._attempts: dict[str, Counter[str]] = {lane: Counter() for lane in classes}

    def limit(self, lane: str) -> tuple[int, int]:
        """Return the maximum number of events and of bytes for the next request with entries of a lane."""
        size = self._sizes[lane]
        if not self._rate_bytes:
            return size.max_events, size.max_bytes
        return size.max_events, max(1, min(size.max_bytes, int(self._rate_bytes * TARGET_S)))

    def sends_ahead(self, lane: str) -> bool:
        """Return whether the next request of a lane may be begun while one is in progress."""
        return not self._rate_bytes and self._sizes[lane].is_quick

    def limit_s(self, wire_bytes: int) -> float:
        """Return the time after which a request of so many bytes counts as unanswered, seconds."""
        return self._throughput.limit_s(wire_bytes)

    def rates(self) -> tuple[float, float, float] | None:
        """Return events, stored bytes and bytes on the wire per second; None before the first request."""
        return self._throughput.rates()

    def attempts(self) -> Mapping[str, Mapping[str, int]]:
        """Return for each lane the counts of the outcomes `delivered`, `retried` and `dead`."""
        return {lane: dict(counted) for lane, counted in self._attempts.items()}

    def succeeded(self, lane: str, entries: Sequence[Entry], sent: SentRequest, *, took_s: float, now: float) -> None:
        """Record a request that succeeded and whose entries were released.

        Args:
            lane: Lane of the entries.
            entries: Entries of the request; one entry when only a part of it was sent.
            sent: The request and its answer.
            took_s: Duration with packing and releasing, seconds.
            now: When the request ended, on the monotonic clock.
        """
        wire_bytes, is_part = sent.wire_bytes, sent.answer is None or not sent.wire_bytes
        stored_bytes = wire_bytes if is_part else sum(map(entry_bytes, entries))
        events = 0 if sent.answer is None else len(entries)
        self._sizes[lane].succeeded(took_s, len(entries), stored_bytes)
        self._throughput.add(
            ThroughputSample(
                ended_at=now, took_s=took_s, events=events, stored_bytes=stored_bytes, wire_bytes=wire_bytes
            )
        )
        self.counts.bytes_sent += wire_bytes
        if self._rate_bytes:
            self.sendable_at = max(self.sendable_at, now - took_s) + wire_bytes / self._rate_bytes
        if sent.answer is None:
            return
        done = events - len(sent.answer.refused)
        self.counts.forwarded += done
        self.counts.repeated += sent.answer.repeated
        self._attempts[lane]["delivered"] += done
        passed = self._evidence[lane].passed
        for entry in entries:
            passed(entry.seq)

    def failed(
        self,
        lane: str,
        entries: Sequence[Entry],
        failure: RequestFailure,
        *,
        attempted_bytes: int,
        is_resized: bool = True,
    ) -> None:
        """Record a request without a usable answer; the next one is smaller, unless the receiver is busy.

        Args:
            lane: Lane of the entries.
            entries: Entries of the request; one entry when only a part of it was sent.
            failure: Classified failure.
            attempted_bytes: Size of the request's body, bytes.
            is_resized: Whether the next request becomes smaller. It doesn't when an entry fails that failed before,
                because that says nothing about the right size for other entries.
        """
        self.counts.failed += 1
        if failure.status == NO_ANSWER:
            self._throughput.stalled()
        if not is_resized or failure.next is FailureAction.AS_BATCH:
            return
        size, stored_bytes = self._sizes[lane], sum(map(entry_bytes, entries))
        if len(entries) == 1:  # perhaps only a part of it was sent
            stored_bytes = min(stored_bytes, max(attempted_bytes, 1))
        if failure.next is FailureAction.SPLIT:
            size.too_large(len(entries), stored_bytes)
        elif (
            failure.next is not FailureAction.WAIT or failure.status == NO_ANSWER
        ):  # a busy receiver doesn't need smaller requests
            size.failed(len(entries), stored_bytes)

    def is_at_fault(self, lane: str, entry: Entry) -> bool:
        """Record that a request with only this event was refused; return whether the event is at fault.

        The event is at fault if other events of the same lane are accepted meanwhile.
        """
        return self._evidence[lane].refused(entry.seq)

    def gave_up(self, lane: str) -> None:
        """Record that an event of a lane became a dead letter."""
        self.counts.refused += 1
        self._attempts[lane]["dead"] += 1

    def set_aside(self, lane: str) -> None:
        """Record that the retry of an event was postponed, so that other events are sent first."""
        self._attempts[lane]["retried"] += 1


def entry_bytes(entry: Entry) -> int:
    """Return the size of an entry's data and attributes, bytes, about as the queue counts them."""
    return len(entry.event.data) + sum(len(name) + len(value) + 8 for name, value in entry.event.attributes().items())
