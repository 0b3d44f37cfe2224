"""The threads that deliver one lane."""

from __future__ import annotations

import enum
import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from eaves.backoff import Backoff
from eaves.delivery.rules import (
    ACCEPTED,
    NO_ANSWER,
    SINK_STATUSES,
    Answer,
    Verdict,
    brief,
    describe,
    verdict,
)
from eaves.errors import DeliveryError, EavesError, SpoolError, UnreachableError
from eaves.events import Event
from eaves.spool import Entry, Lease, Puts, Spool

LEASE_POLL_S = 0.5
IDLE_S = 30.0
SPOOL_PAUSE_S = 1.0
"""Shortest pause after the spool could not be read or written, so that a full disk is not met with a busy loop."""
JUNK_STATUS = 502
"""Source: knative/eventing, filter_handler.go: what a broker makes of a reply that is not a CloudEvent."""

_log = logging.getLogger(__name__)

Send = Callable[[Event], Answer]
OnReply = Callable[[Entry, Event], Puts]
OnDead = Callable[[Entry, int, str], Puts]


class Outcome(enum.Enum):
    """What became of one attempt."""

    DELIVERED = "delivered"
    RETRIED = "retried"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt, for whoever counts or shows them.

    Attributes:
        entry: What was sent.
        outcome: What became of it.
        status: HTTP status that decided it, 0 when there was no answer.
        reason: Why it failed, empty otherwise.
        answer: What was answered, None without an answer.
    """

    entry: Entry
    outcome: Outcome
    status: int
    reason: str = ""
    answer: Answer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """What is to be done about one entry."""

    verdict: Verdict
    status: int
    reason: str = ""
    answer: Answer | None = None
    puts: Puts = ()
    reached: bool = True


class Deliverer:
    """Delivers the entries of one lane until it is stopped.

    Entries are taken in the order they were put, but one that waits for its back-off lets those behind it pass. When
    retries never end (`Backoff.retry` None) and the sink itself is the trouble (no answer, 429, 503), the whole lane
    pauses: a link that is down for days then costs an attempt and a write now and then, not one per entry.

    Args:
        spool: Holds the entries.
        lane: Which of them.
        send: Sends one event. A DeliveryError, or another EavesError by its `http_status`, counts as an answer; any
            other exception is logged with its traceback and retried.
        backoff: How often and how long apart.
        parallel: Attempts at the same time.
        on_reply: Gives what to store for a reply, in the commit that releases the entry. With it a body that is no
            CloudEvent is a failure; without it nobody asked for a reply and bodies are ignored.
        on_dead: Gives what to store instead of a dead letter; when it gives nothing the dead letter is kept.
        observe: Told of every attempt, after the spool knows of it.
        wait_out: An event that reached nobody (UnreachableError) costs no attempt: the lane pauses until the sink is
            back, however long that takes.
        lease: Taken before anything is delivered, and waited for.
        clock: Unix seconds.
        chance: Random numbers in [0, 1).
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
        on_dead: OnDead | None = None,
        observe: Callable[[Attempt], None] | None = None,
        wait_out: bool = False,
        lease: Lease | None = None,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._spool = spool
        self._lane = lane
        self._send = send
        self._backoff = backoff or Backoff()
        self._on_reply = on_reply
        self._on_dead = on_dead
        self._observe = observe
        self._wait_out = wait_out
        self._lease = lease
        self._clock = clock
        self._chance = chance
        self._lock = threading.Lock()
        self._in_flight: set[int] = set()
        self._failures = 0
        self._held_until = 0.0
        self._stopping = threading.Event()
        names = [f"deliver-{lane}-{number}" for number in range(parallel)]
        self._threads = [threading.Thread(target=self._run, name=name, daemon=True) for name in names]

    def start(self) -> None:
        """Begin to deliver."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float = 30.0) -> bool:
        """Finish what is in flight and leave the rest queued.

        Returns:
            False when something was still in flight after `timeout_s`; the lease is then kept, as it should be.
        """
        self._stopping.set()
        self._spool.wake()
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        stopped = not any(thread.is_alive() for thread in self._threads)
        if stopped and self._lease is not None:
            self._lease.release()
        return stopped

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._ready():
                    self._deliver_next()
            except SpoolError as error:
                _log.error("lane %s: %s; nothing is released until that works again", self._lane, error)
                self._hold(SPOOL_PAUSE_S)
            except Exception:  # noqa: BLE001 - a lane without threads would stand still unseen
                _log.exception("lane %s: a defect in the deliverer; it goes on", self._lane)
                self._hold(SPOOL_PAUSE_S)

    def _ready(self) -> bool:
        """Whether to deliver now; waits a little when not."""
        with self._lock:
            held_s = self._held_until - time.monotonic()
            allowed = held_s <= 0 and (self._lease is None or self._lease.acquire())
        if not allowed:
            self._stopping.wait(held_s if held_s > 0 else LEASE_POLL_S)
        return allowed

    def _deliver_next(self) -> None:
        version = self._spool.version()
        if self._stopping.is_set():  # `stop` wakes after it sets this: looked at in this order, neither is missed
            return
        now = self._clock()
        with self._lock:
            entries = self._spool.take(self._lane, now=now, exclude=self._in_flight)
            due = None if entries else self._spool.next_due(self._lane, exclude=self._in_flight)
            self._in_flight.update(entry.seq for entry in entries)
        if not entries:
            self._spool.wait(version, IDLE_S if due is None else min(IDLE_S, max(0.0, due - now)))
        for entry in entries:
            try:
                self._record(entry, self._judge(entry))
            finally:
                with self._lock:
                    self._in_flight.discard(entry.seq)

    def _judge(self, entry: Entry) -> _Judged:
        """Send, and decide."""
        try:
            answer = self._send(entry.event)
        except UnreachableError as error:
            return _Judged(verdict=Verdict.RETRY, status=NO_ANSWER, reason=error.message, reached=False)
        except DeliveryError as error:
            return _Judged(verdict=Verdict.RETRY, status=NO_ANSWER, reason=error.message)
        except EavesError as error:
            status = error.http_status
            return _Judged(verdict=verdict(status), status=status, reason=brief(error.message))
        except Exception as error:  # noqa: BLE001 - foreign code; retried
            _log.exception("lane %s: sending event %s failed unexpectedly", self._lane, entry.event.id[:64])
            return _Judged(verdict=Verdict.RETRY, status=500, reason=brief(f"{type(error).__name__}: {error}"))
        found = verdict(answer.status)
        if found is not Verdict.DONE:
            reason = describe(answer.status, answer.body)
            return _Judged(verdict=found, status=answer.status, reason=reason, answer=answer)
        return self._judge_reply(entry, answer)

    def _judge_reply(self, entry: Entry, answer: Answer) -> _Judged:
        done = _Judged(verdict=Verdict.DONE, status=answer.status, answer=answer)
        if self._on_reply is None or answer.status == ACCEPTED:
            return done
        if answer.event is None:
            if not answer.body:
                return done
            reason = (
                f"answered {answer.status} with {len(answer.body)} bytes that are no CloudEvent; an answer to"
                " `Prefer: reply` must be empty or a CloudEvent, a Knative broker makes it 502 and retries"
            )
            return _Judged(verdict=Verdict.RETRY, status=JUNK_STATUS, reason=reason, answer=answer)
        try:
            puts = self._on_reply(entry, answer.event)
        except Exception as error:  # noqa: BLE001 - foreign code; retried
            _log.exception("lane %s: the reply to event %s could not be used", self._lane, entry.event.id[:64])
            reason = brief(f"its reply could not be used: {type(error).__name__}: {error}")
            return _Judged(verdict=Verdict.RETRY, status=500, reason=reason, answer=answer)
        return _Judged(verdict=Verdict.DONE, status=answer.status, answer=answer, puts=puts)

    def _record(self, entry: Entry, judged: _Judged) -> None:
        """Make it durable, then tell."""
        failures = entry.attempts + 1
        if judged.verdict is Verdict.DONE:
            self._spool.settle(entry, puts=judged.puts)
            outcome = Outcome.DELIVERED
        elif self._wait_out and not judged.reached:
            self._hold(None)
            outcome = Outcome.RETRIED
        elif judged.verdict is Verdict.RETRY and not self._backoff.exhausted(failures):
            self._retry(entry, judged, failures)
            outcome = Outcome.RETRIED
        else:
            self._give_up(entry, judged)
            outcome = Outcome.DEAD
        if judged.status not in SINK_STATUSES:
            with self._lock:
                self._failures = 0
        self._tell(entry, outcome, judged)

    def _retry(self, entry: Entry, judged: _Judged, failures: int) -> None:
        asked_s = judged.answer.retry_after_s if judged.answer else None
        if self._backoff.retry is None and judged.status in SINK_STATUSES:
            self._hold(asked_s)
        pause_s = self._backoff.pause_s(failures, jitter=self._chance(), retry_after_s=asked_s)
        self._spool.retry(entry, self._clock() + pause_s, judged.reason)

    def _give_up(self, entry: Entry, judged: _Judged) -> None:
        _log.warning("lane %s: gave up on event %s: %s", self._lane, entry.event.id[:64], judged.reason)
        puts: Puts = ()
        if self._on_dead is not None:
            try:
                puts = self._on_dead(entry, judged.status, judged.reason)
            except Exception:  # noqa: BLE001 - an event must end up somewhere
                _log.exception("lane %s: keeping the dead letter here", self._lane)
        if puts:
            self._spool.settle(entry, puts=puts)
        else:
            self._spool.bury(entry, judged.reason, judged.status)

    def _tell(self, entry: Entry, outcome: Outcome, judged: _Judged) -> None:
        if self._observe is None:
            return
        attempt = Attempt(
            entry=entry, outcome=outcome, status=judged.status, reason=judged.reason, answer=judged.answer
        )
        try:
            self._observe(attempt)
        except Exception:  # noqa: BLE001 - what is told of is already durable
            _log.exception("lane %s: the observer failed", self._lane)

    def _hold(self, at_least_s: float | None) -> None:
        """Pause the lane. Attempts that were already in flight and fail too don't make the pause grow."""
        with self._lock:
            now = time.monotonic()
            if now >= self._held_until:
                self._failures += 1
            pause_s = self._backoff.pause_s(self._failures, jitter=self._chance(), retry_after_s=at_least_s)
            self._held_until = max(self._held_until, now + pause_s)
