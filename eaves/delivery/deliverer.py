"""The one loop that delivers a spool's entries: it selects them, waits, sends, and writes down what came of it."""

from __future__ import annotations

import enum
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence

from eaves.base.backoff import Backoff
from eaves.base.clock import SYSTEM, Clock
from eaves.delivery.evidence import FailedEntries, RefusalHistories
from eaves.delivery.response_rules import NO_ANSWER, UNAVAILABLE, Blame, DeliveryAction, choose_action, find_store
from eaves.delivery.sender import AttemptResult, Sender
from eaves.delivery.sink_state import MAX_ASKED_PAUSE_S, LaneDelivery, SinkState, SinkView
from eaves.delivery.workers import Workers
from eaves.errors import EavesError, SpoolError, SpoolFullError, StatusError
from eaves.spool import Entry, Lease, Puts, Spool
from eaves.spool.database import Version
from eaves.spool.outcomes import Outcome

LEASE_POLL_S = 0.5
IDLE_S = 30.0
POLL_S = 1.0
"""Interval at which an idle deliverer looks whether it should probe the receiver, seconds."""
SPOOL_PAUSE_S = 1.0
"""Pause after the spool could not be read or written, in seconds; it avoids a busy loop while the disk is full."""
ABORT_S = 0.5
"""Time limit for the request in progress after it was aborted at shutdown, seconds."""
MIN_AHEAD = 50
"""Minimum number of entries of a request for the next one to be prepared meanwhile; smaller ones are packed quickly."""
SET_ASIDE = Backoff(retry=None, first_s=1.0, cap_s=60.0)
"""Pauses before the next attempt of an entry that failed in a request of its own; other entries are sent meanwhile."""
MAX_UNCLEAR = 3
"""Number of requests with one entry that fail on the way, each right after a successful probe, before others are sent
first. A device on the way refuses this event or resets its connection, or sending it takes longer than the link is ever
up."""

_log = logging.getLogger(__name__)

OnDead = Callable[[Entry, AttemptResult], Puts]


class DeliveryOutcome(enum.Enum):
    """Outcome of one attempt."""

    DELIVERED = "delivered"
    RETRIED = "retried"
    DEAD = "dead"


class Deliverer:
    """Delivers the entries of some lanes to one receiver until it is stopped.

    The most urgent lane with due entries is served, in the order in which they were put. An entry that failed in a
    request of its own is set aside and retried later, unless the way is known to have failed, so it blocks none behind;
    after such a failure the next request holds entries that have never failed, as long as there are any, so these get
    at least every second request however many fail. A request of several entries that fails as a whole says nothing
    about one of them.

    With a limited number of retries (`Backoff.retry`) Knative's response rules apply: an entry becomes a dead letter
    when it is refused or its retries are used up. An event that didn't reach the receiver costs no attempt, and one
    whose data can't be fetched, or that the receiver asks for later, is tried for as long as that lasts.

    Without such a limit an entry becomes a dead letter only when it is at fault: when the receiver says so
    (`Blame.EVENT`), or when other entries succeed while this one alone is refused ten times (`RefusalHistories`). Every
    other failure pauses deliveries: from time to time one entry is tried, or the receiver is probed, so that a link
    that is down for days costs one attempt each time, not one for each entry.

    Args:
        spool: Spool of the entries.
        lanes: Name of the lane, or names of the lanes, the most urgent first.
        sender: Sends requests to the receiver.
        backoff: Number of retries, and pauses between them and while the receiver isn't reached.
        newest_first: Whether each lane is served from its newest end.
        on_dead: Function that returns events to store instead of a dead letter; when it returns none, the dead letter
            is kept.
        report_dead: Function that returns events to store in the same commit as a dead letter that is kept.
        observe: Function that is called with each attempt of an entry, its outcome and its result, after the result was
            written to the spool.
        leases: Leases to acquire before anything is delivered; the deliverer waits for them.
        clock: Clock for wall time and monotonic time.
        jitter: Function that returns random numbers in [0, 1).

    Attributes:
        lanes: Names of the lanes, the most urgent first.
    """

    def __init__(
        self,
        spool: Spool,
        lanes: str | Sequence[str],
        sender: Sender,
        *,
        backoff: Backoff | None = None,
        newest_first: bool = False,
        on_dead: OnDead | None = None,
        report_dead: OnDead | None = None,
        observe: Callable[[Entry, DeliveryOutcome, AttemptResult], None] | None = None,
        leases: Sequence[Lease] = (),
        clock: Clock = SYSTEM,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.lanes = (lanes,) if isinstance(lanes, str) else tuple(lanes)
        name = sender.to or self.lanes[0]
        self._spool = spool
        self._sender = sender
        self._backoff = backoff or Backoff()
        self._is_limited = self._backoff.retry is not None
        self._newest_first = newest_first
        self._on_dead = on_dead
        self._report_dead = report_dead
        self._observe = observe
        self._leases = leases
        self._clock = clock
        self._jitter = jitter
        self._has_probe = sender.probe_s is not None
        self._state = threading.Condition()
        self._sink = SinkState(name, self._backoff, clock, jitter, has_probe=self._has_probe)
        self._evidence = {lane: RefusalHistories(has_probe=self._has_probe) for lane in self.lanes}
        self._failed = FailedEntries(spool, self.lanes, clock)
        self._has_failed, self._failed_lane = False, ""
        self._unclear = (0, 0)
        self._unrecorded = 0
        self._turns = 0
        self._ahead: list[Entry] = []
        self._ahead_limits = 0, 0
        self._in_flight: set[int] = set()
        self._attempts: dict[str, Counter[str]] = {lane: Counter() for lane in self.lanes}
        self._held_until, self._held_since, self._held_reason = float("-inf"), 0.0, ""
        self._stopping = False
        self._workers = Workers(f"send-{self.lanes[0]}", sender.parallel, self._handle)
        self._thread = threading.Thread(target=self._run, name=f"deliver-{self.lanes[0]}", daemon=True)

    def start(self) -> None:
        """Start to deliver."""
        self._thread.start()

    def stop(self, timeout_s: float = 30.0) -> bool:
        """Finish the attempts in flight, or abort the one of a sender that can, and leave the other entries queued.

        Returns:
            False when an attempt was still in flight after `timeout_s` seconds; the leases are then kept on purpose.
        """
        with self._state:
            self._stopping = True
            self._state.notify_all()
        self._spool.wake()
        deadline = time.monotonic() + timeout_s
        if self._thread.ident is not None:
            self._thread.join(max(0.0, timeout_s - ABORT_S))
        if self._thread.is_alive() or not self._workers.stop(max(0.0, deadline - ABORT_S - time.monotonic())):
            self._sender.abort()
        if self._thread.ident is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        stopped = not self._thread.is_alive() and self._workers.stop(max(0.0, deadline - time.monotonic()))
        if stopped:
            for lease in self._leases:
                lease.release()
        return stopped

    def view(self) -> SinkView:
        """Return the state of the receiver."""
        with self._state:
            sink = self._sink
            held = self._held_reason if self._clock.monotonic() < self._held_until else ""
            return SinkView(
                state=sink.state,
                since=self._held_since if held else sink.since,
                since_age_s=sink.since_age_s(),
                reason=held or sink.reason,
                status=sink.status,
                paused=sink.is_paused or bool(held),
                next_try_at=self._clock.now() + self._wait_s(),
            )

    def status(self, lane: str = "") -> LaneDelivery:
        """Return the state of a lane's delivery, by default of the first lane's."""
        lane, view = lane or self.lanes[0], self.view()
        with self._state:
            attempts = dict(self._attempts[lane])
        if not view.paused:
            return LaneDelivery(lane=lane, attempts=attempts)
        return LaneDelivery(
            lane=lane,
            paused=True,
            reason=view.reason,
            status=view.status,
            since=view.since,
            next_try_at=view.next_try_at,
            attempts=attempts,
        )

    def try_now(self) -> None:
        """Make the next attempt now even when deliveries are paused; when it fails, they stay paused."""
        with self._state:
            self._sink.cut_short()
            self._held_until = float("-inf")
            self._failed.request_refresh()
            self._state.notify_all()
        self._spool.wake()

    def is_alive(self) -> bool:
        """Return whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping:
            try:
                if self._ready():
                    self._step()
            except SpoolError as error:
                self._hold(f"{error.message}; no event is removed from the queue until this works again")
            except Exception:  # noqa: BLE001 - without its thread the queue would stop unnoticed
                _log.exception("queue %s: unexpected error during delivery; delivery continues", self.lanes[0])
                self._hold("unexpected error, see the log")

    def _ready(self) -> bool:
        """Wait until an attempt may be made; return False when another process has a lease or the deliverer stops."""
        with self._state:
            while not self._stopping and (wait_s := self._blocked_s()) > 0:
                self._clock.wait(self._state, wait_s)
            if self._stopping:
                return False
        taken = next((lease.path for lease in self._leases if not lease.acquire()), None)
        if taken is None:
            return True
        self._hold(f"another process holds {taken}; this one waits until that one has ended", LEASE_POLL_S)
        return False

    def _blocked_s(self) -> float:
        """Return for how many seconds no attempt may be made unless something changes; 0 when one may be made."""
        return self._wait_s() or (0.0 if self._free() > 0 else IDLE_S)

    def _wait_s(self) -> float:
        rated_s = 0.0 if self._sink.unproven else self._sender.ready_s()
        return max(0.0, self._sink.left_s(), self._held_until - self._clock.monotonic(), rated_s)

    def _free(self) -> int:
        """Return how many more requests may be started now.

        After a failure, only one runs at a time until one succeeds.
        """
        return (1 if self._sink.failures else self._sender.parallel) - len(self._in_flight)

    def _step(self) -> None:
        """Probe the receiver, start requests, or wait until there is something to do."""
        self._spool.keep_limits()
        version = self._spool.version(*self.lanes)
        if self._stopping:  # `stop` sets this before it wakes; this order of checks misses neither
            return
        with self._state:
            busy, free, unproven = frozenset(self._in_flight), self._free(), self._sink.unproven
        if unproven:
            self._probe()
            return
        if free <= 0:  # an attempt has failed since `_ready`
            return
        if self._is_full_of_replies():
            self._hold("the queue is full; it continues when replies that wait in it are delivered")
            return
        requests = self._choose(free, busy)  # without the lock, because the query may take long
        with self._state:
            self._in_flight |= {entry.seq for request in requests for entry in request}
        if requests and self._sender.parallel == 1 and len(requests[0]) < MIN_AHEAD:
            self._handle(requests[0])
            return
        self._submit(requests)
        if requests and self._sender.parallel == 1:
            self._prepare_next(requests[0])
            with self._state:
                self._state.wait_for(lambda: self._stopping or not self._in_flight)
            return
        if not requests:  # all due entries are in flight
            self._wait_for_more(version, busy)

    def _is_full_of_replies(self) -> bool:
        lane = self._sender.reply_lane
        return bool(lane) and self._spool.size_bytes() >= self._spool.limits.max_bytes and self._spool.depth(lane) > 0

    def _submit(self, requests: Sequence[Sequence[Entry]]) -> None:
        for number, request in enumerate(requests):
            try:
                self._workers.submit(request)
            except RuntimeError:  # no thread was started, so entries that no thread has taken are not in flight
                with self._state:
                    self._in_flight.difference_update(entry.seq for left in requests[number:] for entry in left)
                raise

    def _prepare_next(self, request: Sequence[Entry]) -> None:
        """Read the entries that will probably follow a request, and have them packed, while it is in progress."""
        sent, self._ahead_limits = {entry.seq for entry in request}, self._sender.limits(request[0].lane)
        self._ahead = next(iter(self._untried(request[0].lane, 1, sent)), [])
        if self._ahead:
            self._sender.prepare(self._ahead)

    def _wait_for_more(self, version: Version, busy: Collection[int]) -> None:
        """Wait until an entry that isn't in flight is due, an entry in flight must be sent again, or a probe is due."""
        if self._is_probe_due():
            self._probe()
            return
        wait_s = min(POLL_S if self._has_probe else IDLE_S, self._failed.next_due_s(busy))
        if not busy and not self._failed.count():
            with self._state:  # nothing waits, and the spool works
                if not self._has_probe and self._sink.is_paused:
                    self._sink.succeeded()
        if self._spool.wait(version, wait_s):
            self._failed.note_change()

    def _is_probe_due(self) -> bool:
        if not self._has_probe:
            return False
        with self._state:
            silent_s = self._clock.monotonic() - self._sink.heard_at
        return 0 < (self._sender.probe_s or 0) <= silent_s or self._sender.wants_probe()

    def _choose(self, free: int, busy: Collection[int]) -> list[list[Entry]]:
        """Return the next requests, at most `free`; of several entries only when a request may hold them."""
        self._failed.refresh()
        lanes = sorted(self.lanes, key=lambda lane: lane == self._failed_lane)  # stable: the others as they were
        for with_failed in (False, True) if self._has_failed else (True,):
            for lane in lanes:
                begun = self._sender.unfinished(lane)
                if begun is not None and (with_failed or not begun.attempts) and self._spool.is_queued(begun.seq):
                    return [[begun]]
                if with_failed and (again := self._failed.due(lane, busy)):
                    return [[again]]
                if found := self._untried(lane, free, busy):
                    return found
        return []

    def _untried(self, lane: str, free: int, busy: Collection[int]) -> list[list[Entry]]:
        limits, newest_first = self._sender.limits(lane), self._newest_first or self._tries_newest()
        is_same = bool(self._ahead) and not busy and (lane, limits) == (self._ahead[0].lane, self._ahead_limits)
        if is_same and self._spool.is_next(self._ahead, newest_first=newest_first):
            return [self._ahead]
        (max_entries, max_bytes), is_single = limits, limits == (1, 0)
        found = self._spool.peek(
            lane,
            limit=free if is_single else max_entries,
            max_bytes=max_bytes,
            newest_first=newest_first,
            exclude=busy,
        )
        return [[entry] for entry in found] if is_single else [found] if found else []

    def _tries_newest(self) -> bool:
        """Return whether to try the newest entry next: in turn with the first one, while all fail and none is a probe.

        So many entries that are refused don't hide one that would be accepted. A receiver that isn't reached gets them
        in their order.
        """
        with self._state:
            if self._has_probe or not (self._sink.failures and self._has_failed):
                return False
            self._turns += 1
            return self._turns % 2 == 0

    def _probe(self) -> None:
        try:
            self._sender.probe()
        except EavesError as error:
            status = error.status if isinstance(error, StatusError) else NO_ANSWER
            asked_s = error.retry_after_s if isinstance(error, StatusError) else None
            with self._state:
                self._sink.failed(error.message, status, asked_s=asked_s)
            return
        idle = not self._choose(1, ())
        with self._state:
            self._sink.probed(idle=idle)

    def _handle(self, entries: Sequence[Entry]) -> None:
        """Send one request and record the result; never raise."""
        is_settled = False
        try:
            results = self._sender.send(entries[0].lane, entries)
            is_settled = self._record(entries, results)
            self._unrecorded = 0
        except SpoolError as error:
            self._unrecorded += 1  # what was sent is sent again, ever less often
            pause_s = SET_ASIDE.pause_s(self._unrecorded)
            self._hold(f"{error.message}; no event is removed from the queue until this works again", pause_s)
        except Exception:  # noqa: BLE001 - the sending thread must not end
            event_id = entries[0].event.id[:64]
            _log.exception("queue %s: unexpected error while event %s was delivered", self.lanes[0], event_id)
            self._hold("unexpected error, see the log")
        finally:
            with self._state:
                self._in_flight.difference_update(entry.seq for entry in entries)
                self._state.notify_all()
            if not is_settled:
                self._spool.wake(entries[0].lane)

    def _record(self, entries: Sequence[Entry], results: Sequence[AttemptResult] | None) -> bool:
        """Write the results to the spool; return whether all entries are permanently removed.

        A dead letter doesn't count as removed, because an operator may queue it again while it is still listed as in
        flight.
        """
        if results is None:
            return False
        if len(results) < len(entries):
            self._record_request(entries, results)
            return False
        pairs = list(zip(entries, results, strict=True))
        accepted = [(entry, result) for entry, result in pairs if result.blame is None]
        self._release(accepted)
        for entry, result in pairs:
            if result.blame is not None:
                self._record_failure(entry, result)
        return len(accepted) == len(entries)

    def _record_request(self, entries: Sequence[Entry], results: Sequence[AttemptResult]) -> None:
        """Record a request that failed as a whole, or that sent a part of an entry."""
        with self._state:
            if not results:
                self._has_failed, self._failed_lane, self._unclear = False, "", (0, 0)
                self._sink.succeeded()
                return
            self._unclear = (0, 0)
            if not self._has_probe:
                self._attempts[entries[0].lane][DeliveryOutcome.RETRIED.value] += 1
            self._fail(results[0])

    def _release(self, accepted: Sequence[tuple[Entry, AttemptResult]]) -> None:
        if not accepted:
            return
        if len(accepted) == 1:
            entry, result = accepted[0]
            self._spool.ack(
                entry, puts=result.puts, outcome=result.outcome, sample=result.sample, candidate=result.candidate
            )
        else:
            self._spool.ack_many([entry for entry, _ in accepted])
        with self._state:
            self._has_failed, self._failed_lane, self._unclear = False, "", (0, 0)
            self._held_reason = ""
            self._sink.succeeded()
            lane = accepted[0][0].lane
            self._attempts[lane][DeliveryOutcome.DELIVERED.value] += len(accepted)
            for entry, result in accepted:
                self._evidence[lane].passed(entry.seq, result.store or find_store(entry.event))
                if entry.attempts:
                    self._failed.discard(lane, entry.seq)
        for entry, result in accepted if self._observe is not None else ():
            self._report(entry, DeliveryOutcome.DELIVERED, result)

    def _record_failure(self, entry: Entry, result: AttemptResult) -> None:
        if self._is_given_up(entry, result):
            try:
                self._give_up(entry, result)
            except SpoolFullError as error:
                self._hold(error.message)
                self._set_aside(entry, error.message)
                self._notify(entry, DeliveryOutcome.RETRIED, result)
                return
            with self._state:
                self._evidence[entry.lane].forget(entry.seq)
                self._failed.discard(entry.lane, entry.seq)
                self._sink.succeeded()  # it has responded, and the way to it is not at fault
            self._notify(entry, DeliveryOutcome.DEAD, result)
            return
        with self._state:
            if self._is_limited and result.reached and not result.is_free:
                self._sink.succeeded()
            else:
                self._fail(result, entry)
            set_aside = self._is_set_aside(entry, result)
        if set_aside:
            counted = not (self._is_limited and result.is_free)
            self._set_aside(entry, result.reason, result.asked_s, counted=counted, outcome=result.outcome)
        if set_aside or not self._has_probe:  # otherwise the link failed, and not the delivery of this entry
            self._notify(entry, DeliveryOutcome.RETRIED, result)

    def _is_given_up(self, entry: Entry, result: AttemptResult) -> bool:
        if not result.reached:
            return False
        if self._is_limited and not result.store and not result.is_free:
            refused = choose_action(result.status) is DeliveryAction.REFUSED
            return refused or self._backoff.exhausted(entry.attempts + 1)
        if result.blame is Blame.EVENT:
            return True
        is_evidence = result.blame is Blame.UNKNOWN or (result.blame is Blame.WAY and not self._has_probe)
        with self._state:
            return is_evidence and self._evidence[entry.lane].refused(entry.seq, result.store)

    def _is_set_aside(self, entry: Entry, result: AttemptResult) -> bool:
        """Return whether other entries are sent before this one is tried again; the caller holds the lock.

        Where a probe shows whether the way works, only a refusal that blames the event, or repeated failures of its
        requests alone, say something about the entry; elsewhere only other entries can show it.
        """
        if not result.reached:
            return False
        if not self._has_probe:
            return True
        if result.blame is Blame.UNKNOWN:
            self._unclear = (0, 0)
            return True
        self._unclear = (entry.seq, self._unclear[1] + 1 if self._unclear[0] == entry.seq else 1)
        is_known = entry.attempts > 0 and self._sender.unfinished(entry.lane) is None
        return self._unclear[1] >= (1 if is_known else MAX_UNCLEAR)

    def _fail(self, result: AttemptResult, entry: Entry | None = None) -> None:
        """Pause deliveries; the caller holds the lock.

        When the event may be at fault, the next entry is tried at once; where the receiver can be probed, so it is
        after any first failure.
        """
        unclear = self._has_probe or (result.blame is not Blame.WAY and result.reached)
        busy = not self._has_probe and result.blame is Blame.LATER and result.status != UNAVAILABLE
        self._sink.failed(
            f"event {entry.event.id[:64]} of {entry.event.source[:128]}: {result.reason}"
            if self._has_probe and entry is not None and result.blame is Blame.UNKNOWN
            else result.reason,
            result.status,
            asked_s=result.asked_s,
            lenient=busy or (unclear and not (self._is_limited and result.is_free)),
            busy=busy,
            again=self._has_probe and entry is not None and entry.attempts > 0 and result.blame is Blame.UNKNOWN,
        )

    def _set_aside(
        self,
        entry: Entry,
        reason: str,
        asked_s: float | None = None,
        *,
        counted: bool = True,
        outcome: Outcome | None = None,
    ) -> None:
        backoff = self._backoff if self._is_limited or not self._has_probe else SET_ASIDE
        self._sender.put_off(entry)
        asked_s = min(asked_s or 0.0, MAX_ASKED_PAUSE_S)
        pause_s = backoff.pause_s(entry.attempts + 1, jitter=self._jitter(), retry_after_s=asked_s)
        not_before = max(0.0, self._clock.now()) + pause_s
        self._spool.retry(entry, not_before, reason, counted=counted, outcome=outcome)
        with self._state:
            self._failed.add(entry.lane, entry.seq, self._clock.monotonic() + pause_s)
            self._has_failed, self._failed_lane = True, "" if entry.attempts else entry.lane

    def _give_up(self, entry: Entry, result: AttemptResult) -> None:
        self._sender.put_off(entry)
        if puts := self._ask(self._on_dead, entry, result):
            self._spool.ack(entry, puts=puts, outcome=result.outcome)
        else:
            reports = self._ask(self._report_dead, entry, result)
            self._spool.dead_letter(entry, result.reason, result.status, puts=reports, outcome=result.outcome)
        _log.warning(
            "queue %s: event %s is not delivered and becomes a dead letter: %s",
            entry.lane,
            entry.event.id[:64],
            result.reason,
            extra={"event_id": entry.event.id, "source": entry.event.source},
        )

    def _ask(self, give: OnDead | None, entry: Entry, result: AttemptResult) -> Puts:
        if give is None:
            return ()
        try:
            return give(entry, result)
        except Exception:  # noqa: BLE001 - the dead letter is kept instead
            _log.exception("queue %s: the dead letter can't be sent on and stays in this queue", entry.lane)
            return ()

    def _notify(self, entry: Entry, outcome: DeliveryOutcome, result: AttemptResult) -> None:
        with self._state:
            self._attempts[entry.lane][outcome.value] += 1
        self._report(entry, outcome, result)

    def _report(self, entry: Entry, outcome: DeliveryOutcome, result: AttemptResult) -> None:
        if self._observe is None:
            return
        try:
            self._observe(entry, outcome, result)
        except Exception:  # noqa: BLE001 - the spool has the result already
            _log.exception("queue %s: the callback for delivered events failed", entry.lane)

    def _hold(self, reason: str, pause_s: float = SPOOL_PAUSE_S) -> None:
        """Pause deliveries for a while because of something on this machine."""
        with self._state:
            if reason != self._held_reason:
                self._held_since = self._clock.now()
                _log.warning("queue %s is paused: %s", self.lanes[0], reason)
            self._held_reason = reason
            self._held_until = self._clock.monotonic() + pause_s
