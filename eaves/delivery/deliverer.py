"""Delivery of one lane: one thread that selects entries and waits, and as many sending threads as are needed."""

from __future__ import annotations

import enum
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from eaves.base.backoff import Backoff
from eaves.base.clock import SYSTEM, Clock
from eaves.delivery.attempts import AttemptJudge, AttemptResult, OnReply, Send
from eaves.delivery.pause import Pause
from eaves.delivery.refusal_history import RefusalHistories
from eaves.delivery.response_rules import NO_ANSWER, Blame, DeliveryAction, SinkResponse, find_store
from eaves.delivery.status import LaneDelivery
from eaves.delivery.workers import Workers
from eaves.errors import SpoolError, SpoolFullError
from eaves.spool import Entry, Lease, Puts, Spool
from eaves.spool.database import Version

LEASE_POLL_S = 0.5
IDLE_S = 30.0
SPOOL_PAUSE_S = 1.0
"""Minimum pause after the spool could not be read or written, in seconds; it avoids a busy loop while the disk is
full.
"""

_log = logging.getLogger(__name__)

OnDead = Callable[[Entry, AttemptResult], Puts]


class DeliveryOutcome(enum.Enum):
    """Outcome of one attempt."""

    DELIVERED = "delivered"
    RETRIED = "retried"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryAttempt:
    """One delivery attempt with its outcome, passed to the observer for counting or display.

    Attributes:
        entry: Entry that was sent.
        outcome: Outcome of the attempt.
        status: HTTP status that decided the outcome; 0 when there was no response.
        reason: Reason for a failure; empty otherwise.
        answer: Response of the sink; None when there was none.
    """

    entry: Entry
    outcome: DeliveryOutcome
    status: int
    reason: str = ""
    answer: SinkResponse | None = None


class Deliverer:
    """Delivers the entries of one lane until it is stopped.

    Entries are sent in the order they were put, but an entry that waits for its back-off doesn't block those behind it.
    In a lane with limited retries (`Backoff.retry`) Knative's response rules apply: an entry becomes a dead letter when
    it is refused or its retries are used up. In a lane with unlimited retries an entry becomes a dead letter only when
    the entry is at fault: when the receiver says so (`Blame.EVENT`), or when other entries succeed while this one alone
    is refused ten times (`RefusalHistories`). Every other failure pauses the lane: from time to time one entry is
    tried, a different one each time, so that a link that is down for days costs one attempt and one write each time,
    not one per entry.

    Args:
        spool: Spool of the entries.
        lane: Name of the lane.
        send: Function that sends one event. A DeliveryError counts as no response, and another EavesError as a response
            with its `http_status`; any other exception is logged with its traceback and retried.
        backoff: Number of retries and pauses between them.
        parallel: Maximum number of attempts at the same time.
        on_reply: Function that returns the events to store for a reply, in the commit that acknowledges the entry. With
            this function, a body that is no CloudEvent is a failure; without it, no reply is requested and bodies are
            ignored.
        reply_required: Whether a success without a reply is a failure; status 202, which says that there is no reply,
            remains a success.
        on_dead: Function that returns events to store instead of a dead letter; when it returns none, the dead letter
            is kept.
        report_dead: Function that returns events to store in the same commit as a dead letter that is kept.
        observe: Function that is called with every attempt after its result was written to the spool.
        wait_out: Whether an event that didn't reach the receiver (UnreachableError) costs no attempt; the lane then
            pauses until the sink is reachable, however long that takes. An event whose data the sink can't fetch from
            its store, or that the sink asks for later (`AttemptResult.is_later`), is tried again for as long.
        lease: Lease to acquire before anything is delivered; the deliverer waits for it.
        clock: Clock for wall time and monotonic time.
        jitter: Function that returns random numbers in [0, 1).

    Attributes:
        lane: Name of the lane.
    """

    def __init__(
        self,
        spool: Spool,
        lane: str,
        send: Send,
        *,
        backoff: Backoff | None = None,
        parallel: int = 1,
        on_reply: OnReply | None = None,
        reply_required: bool = False,
        on_dead: OnDead | None = None,
        report_dead: OnDead | None = None,
        observe: Callable[[DeliveryAttempt], None] | None = None,
        wait_out: bool = False,
        lease: Lease | None = None,
        clock: Clock = SYSTEM,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._spool = spool
        self.lane = lane
        self._backoff = backoff or Backoff()
        self._parallel = parallel
        self._judge = AttemptJudge(lane, send, on_reply, reply_required=reply_required)
        self._on_dead = on_dead
        self._report_dead = report_dead
        self._observe = observe
        self._wait_out = wait_out
        self._lease = lease
        self._clock = clock
        self._jitter = jitter
        self._state = threading.Condition()
        self._in_flight: set[int] = set()
        self._evidence = RefusalHistories()
        self._pause = Pause(lane, self._backoff, clock, jitter)
        self._probed = self._probes = 0
        self._attempts: Counter[str] = Counter()
        self._stopping = False
        self._workers = Workers(f"send-{lane}", parallel, self._handle)
        self._thread = threading.Thread(target=self._run, name=f"deliver-{lane}", daemon=True)

    def start(self) -> None:
        """Start to deliver."""
        self._thread.start()

    def stop(self, timeout_s: float = 30.0) -> bool:
        """Finish the attempts in flight and leave the other entries queued.

        Returns:
            False when an attempt was still in flight after `timeout_s` seconds; the lease is then kept on purpose.
        """
        with self._state:
            self._stopping = True
            self._state.notify_all()
        self._spool.wake()
        deadline = time.monotonic() + timeout_s
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        stopped = not self._thread.is_alive() and self._workers.stop(max(0.0, deadline - time.monotonic()))
        if stopped and self._lease is not None:
            self._lease.release()
        return stopped

    def status(self) -> LaneDelivery:
        """Return the state of the lane's delivery."""
        with self._state:
            attempts = dict(self._attempts)
            if not self._pause.active:
                return LaneDelivery(lane=self.lane, attempts=attempts)
            return LaneDelivery(
                lane=self.lane,
                paused=True,
                reason=self._pause.reason,
                status=self._pause.status,
                since=self._pause.since,
                next_try_at=self._clock.now() + self._pause.left_s(),
                attempts=attempts,
            )

    def try_now(self) -> None:
        """Make the next attempt now even when the lane is paused; when it fails, the lane stays paused."""
        with self._state:
            self._pause.cut_short()
            self._state.notify_all()

    def is_alive(self) -> bool:
        """Return whether the lane's thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping:
            try:
                if self._ready():
                    self._deliver_next()
            except SpoolError as error:
                self._pause_lane(
                    f"{error.message}; no event is removed from the queue until this works again",
                    at_least_s=SPOOL_PAUSE_S,
                )
            except Exception:  # noqa: BLE001 - without its thread the lane would stop unnoticed
                _log.exception("queue %s: unexpected error during delivery; delivery continues", self.lane)
                self._pause_lane("unexpected error, see the log", at_least_s=SPOOL_PAUSE_S)

    def _ready(self) -> bool:
        """Wait until an attempt may be made; return False when another process has the lease or the deliverer stops."""
        with self._state:
            while not self._stopping and (wait_s := self._blocked_s()) > 0:
                self._clock.wait(self._state, wait_s)
            if self._stopping:
                return False
            if self._lease is None or self._lease.acquire():
                return True
            self._clock.wait(self._state, LEASE_POLL_S)
            return False

    def _blocked_s(self) -> float:
        """Return for how many seconds no attempt may be made unless something changes; 0 when one may be made."""
        return self._pause.left_s() or (0.0 if self._free() > 0 else IDLE_S)

    def _free(self) -> int:
        """Return how many more attempts may be started now.

        After a failure, only one attempt runs at a time until one succeeds.
        """
        return (1 if self._pause.failures else self._parallel) - len(self._in_flight)

    def _deliver_next(self) -> None:
        self._spool.keep_limits()
        version = self._spool.version(self.lane)
        if self._stopping:  # `stop` sets this before it wakes; this order of checks misses neither
            return
        now = self._clock.now()
        with self._state:
            busy, free, failing = frozenset(self._in_flight), self._free(), self._pause.failures > 0
        if free <= 0:  # an attempt has failed since `_ready`
            return
        limit = 1 if failing else free
        entries = self._choose(limit, now, busy, failing=failing)  # without the lock, because the query may take long
        chosen = frozenset(entry.seq for entry in entries)
        with self._state:
            self._in_flight |= chosen
        if entries and self._parallel == 1:
            self._handle(entries[0])
            return
        self._submit(entries)
        if len(entries) < limit:  # all due entries are in flight
            self._wait_for_more(version, now, busy | chosen)

    def _submit(self, entries: list[Entry]) -> None:
        for number, entry in enumerate(entries):
            try:
                self._workers.submit(entry)
            except RuntimeError:  # no thread was started, so entries that no thread has taken are not in flight
                with self._state:
                    self._in_flight.difference_update(left.seq for left in entries[number:])
                raise

    def _wait_for_more(self, version: Version, now: float, busy: frozenset[int]) -> None:
        """Wait until an entry that isn't in flight is due, or an entry in flight must be sent again."""
        due = self._spool.next_due(self.lane, exclude=busy)
        if due is None and not busy:
            with self._state:  # an empty lane isn't paused, and its spool works
                self._pause.end()
        self._spool.wait(version, IDLE_S if due is None else min(IDLE_S, max(0.0, due - now)))

    def _choose(self, limit: int, now: float, busy: frozenset[int], *, failing: bool) -> list[Entry]:
        """Return the entries to send next: the first due ones, or after a failure one that was not tried last.

        After a failure, the entry that follows the one tried last and the newest entry are tried in turn, so that many
        entries that are refused don't hide those that would be accepted.
        """
        if not failing:
            return self._spool.peek(self.lane, limit=limit, now=now, exclude=busy)
        self._probes += 1
        if self._probes % 2 == 0 and (newest := self._spool.peek_newest(self.lane, exclude=busy)):
            return newest
        found = self._spool.peek(self.lane, limit=1, now=now, exclude=busy, after=self._probed)
        found = found or self._spool.peek(self.lane, limit=1, now=now, exclude=busy)
        self._probed = found[0].seq if found else 0
        return found

    def _handle(self, entry: Entry) -> None:
        """Send one entry and record the result; never raise."""
        is_settled = False
        try:
            is_settled = self._record(entry, self._judge.judge(entry))
        except SpoolError as error:
            self._pause_lane(
                f"{error.message}; no event is removed from the queue until this works again", at_least_s=SPOOL_PAUSE_S
            )
        except Exception:  # noqa: BLE001 - the sending thread must not end
            _log.exception("queue %s: unexpected error while event %s was delivered", self.lane, entry.event.id[:64])
            self._pause_lane("unexpected error, see the log", at_least_s=SPOOL_PAUSE_S)
        finally:
            with self._state:
                self._in_flight.discard(entry.seq)
                self._state.notify_all()
            if not is_settled:
                self._spool.wake(self.lane)

    def _record(self, entry: Entry, judged: AttemptResult) -> bool:
        """Write the result to the spool, then notify the observer; return whether the entry is permanently removed.

        A dead letter doesn't count as removed, because an operator may queue it again while it is still listed as in
        flight.
        """
        if judged.verdict is DeliveryAction.DONE:
            self._spool.ack(entry, puts=judged.puts)
            with self._state:
                self._evidence.passed(entry.seq, find_store(entry.event))
            outcome = DeliveryOutcome.DELIVERED
        elif self._is_given_up(entry, judged):
            with self._state:
                self._evidence.forget(entry.seq)
            try:
                self._give_up(entry, judged)
            except SpoolFullError as error:
                self._pause_lane(error.message, at_least_s=SPOOL_PAUSE_S)
                self._back_off(entry, error.message)
                self._notify(entry, DeliveryOutcome.RETRIED, judged)
                return False
            outcome = DeliveryOutcome.DEAD
        else:
            self._try_again(entry, judged)
            outcome = DeliveryOutcome.RETRIED
        answered = judged.reached and not judged.is_later
        if outcome is not DeliveryOutcome.RETRIED or (self._backoff.retry is not None and answered):
            with self._state:  # the receiver has responded, and the network path is not at fault
                self._pause.end()
        self._notify(entry, outcome, judged)
        return outcome is DeliveryOutcome.DELIVERED

    def _is_given_up(self, entry: Entry, judged: AttemptResult) -> bool:
        if not judged.reached and (self._wait_out or self._backoff.retry is None):
            return False
        if self._backoff.retry is not None and not (self._wait_out and (judged.store or judged.is_later)):
            return judged.verdict is DeliveryAction.REFUSED or self._backoff.exhausted(entry.attempts + 1)
        if judged.blame is Blame.LATER:
            return False
        if judged.blame is Blame.EVENT:
            return True
        with self._state:
            return self._evidence.refused(entry.seq, judged.store)

    def _try_again(self, entry: Entry, judged: AttemptResult) -> None:
        asked_s = judged.answer.retry_after_s if judged.answer else None
        is_limited = self._backoff.retry is not None
        if not is_limited or (self._wait_out and (judged.is_later or not judged.reached)):
            # When the event may be at fault, the next entry is tried at once; the lane pauses only when that fails too.
            lenient = judged.blame is not Blame.WAY
            self._pause_lane(judged.reason, judged.status, at_least_s=asked_s, lenient=lenient)
            if is_limited and not judged.reached:
                return
        self._back_off(entry, judged.reason, asked_s, counted=not (is_limited and judged.is_later))

    def _back_off(self, entry: Entry, reason: str, asked_s: float | None = None, *, counted: bool = True) -> None:
        pause_s = self._backoff.pause_s(entry.attempts + 1, jitter=self._jitter(), retry_after_s=asked_s)
        self._spool.retry(entry, self._clock.now() + pause_s, reason, counted=counted)

    def _give_up(self, entry: Entry, judged: AttemptResult) -> None:
        if puts := self._ask(self._on_dead, entry, judged):
            self._spool.ack(entry, puts=puts)
        else:
            reports = self._ask(self._report_dead, entry, judged)
            self._spool.dead_letter(entry, judged.reason, judged.status, puts=reports)
        _log.warning(
            "queue %s: event %s is not delivered and becomes a dead letter: %s",
            self.lane,
            entry.event.id[:64],
            judged.reason,
            extra={"event_id": entry.event.id, "source": entry.event.source},
        )

    def _ask(self, give: OnDead | None, entry: Entry, judged: AttemptResult) -> Puts:
        if give is None:
            return ()
        try:
            return give(entry, judged)
        except Exception:  # noqa: BLE001 - the dead letter is kept instead
            _log.exception("queue %s: the dead letter can't be sent on and stays in this queue", self.lane)
            return ()

    def _notify(self, entry: Entry, outcome: DeliveryOutcome, judged: AttemptResult) -> None:
        with self._state:
            self._attempts[outcome.value] += 1
        if self._observe is None:
            return
        attempt = DeliveryAttempt(
            entry=entry, outcome=outcome, status=judged.status, reason=judged.reason, answer=judged.answer
        )
        try:
            self._observe(attempt)
        except Exception:  # noqa: BLE001 - the spool has the result already
            _log.exception("queue %s: the callback for delivered events failed", self.lane)

    def _pause_lane(
        self, reason: str, status: int = NO_ANSWER, *, at_least_s: float | None = None, lenient: bool = False
    ) -> None:
        with self._state:
            self._pause.fail(reason, status, at_least_s=at_least_s, lenient=lenient)
