"""Thread that forwards the spool's entries to the receiver."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from eaves.base.backoff import Backoff
from eaves.base.clock import SYSTEM, Clock
from eaves.errors import ConfigError, DeliveryError, SpoolError
from eaves.relay.entry_selection import EntrySelector
from eaves.relay.link_report import LinkView
from eaves.relay.link_state import PATIENCE, LinkState
from eaves.relay.relay_lanes import CLASSES
from eaves.relay.requests.request_failure import RequestFailure, classify_failure
from eaves.relay.requests.sender import LinkProtocol, Sender
from eaves.relay.requests.settlement import FOREIGN, Settlement
from eaves.relay.requests.traffic import Traffic
from eaves.spool import Entry, Lease, Spool

POLL_S = 1.0
"""Interval at which an idle forwarder checks the spool without a notification, seconds."""
LEASE_POLL_S = 0.5
SPOOL_PAUSE_S = 1.0
"""Pause after a failed read or write of the spool, seconds; it prevents a busy loop on a full disk."""
ABORT_S = 0.5
"""Time limit for the current request after it was aborted at shutdown, seconds."""

_log = logging.getLogger(__name__)


class Forwarder:
    """Forwards the entries of a spool, the most urgent lane first, until it is stopped.

    A request is complete at the receiver only after the one before it was answered, so the entries of a lane arrive in
    the order in which they were put. An entry is released only when the receiver's answer accounts for it. In every
    other case it stays queued and is sent again, under the same id, when the link is up.

    Args:
        spool: Spool that holds the entries.
        link: Connection to the receiver.
        site: Name by which the receiver must know this site; empty for any name.
        classes: Lanes of the spool, the most urgent first.
        newest_first: Whether each lane is served from its newest end.
        rate_bytes: Maximum average rate, bytes per second; 0 for no limit.
        probe_s: Idle time of the link after which it is probed, seconds; 0 to never probe an idle link.
        backoff: Pauses between attempts while the link is down.
        lease: Lease that the forwarder waits for and takes before it sends anything.
        clock: Wall clock and monotonic clock.
        jitter: Returns a random number in [0, 1).
    """

    def __init__(
        self,
        spool: Spool,
        link: LinkProtocol,
        *,
        site: str = "",
        classes: Sequence[str] = CLASSES,
        newest_first: bool = False,
        rate_bytes: int = 0,
        probe_s: float = 45.0,
        backoff: Backoff = PATIENCE,
        lease: Lease | None = None,
        clock: Clock = SYSTEM,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.classes = tuple(classes)
        self._spool = spool
        self._link = link
        self._site = site
        self._probe_s = probe_s
        self._lease = lease
        self._clock = clock
        self._state = threading.Condition()
        self._link_state = LinkState(link.to, clock, jitter, backoff=backoff)
        self._traffic = Traffic(self.classes, rate_bytes=rate_bytes, began_at=clock.monotonic())
        self._held_until, self._held_reason = float("-inf"), ""
        self._sender = Sender(link)
        self._turns = EntrySelector(spool, classes, newest_first=newest_first, clock=clock, jitter=jitter)
        self._settlement = Settlement(
            spool,
            self._sender,
            self._turns,
            self._traffic,
            self._link_state,
            state=self._state,
            hold=self._hold,
        )
        self._news = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="forward", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float = 30.0) -> bool:
        """Stop the thread; a request that takes too long is aborted and repeated after the next start.

        Returns:
            False when the thread still runs after `timeout_s`, for example in a DNS lookup; the lease is then kept.
        """
        with self._state:
            self._stopping = True
            self._state.notify_all()
        if self._thread.ident is not None:
            self._thread.join(max(0.0, timeout_s - ABORT_S))
            if self._thread.is_alive():
                self._link.abort()
                self._thread.join(ABORT_S)
        stopped = not self._thread.is_alive()
        if stopped:
            self._sender.stop()
            if self._lease is not None:
                self._lease.release()
        return stopped

    def notify(self) -> None:
        """Wake the forwarder's thread, because an entry was put into the spool."""
        with self._state:
            self._news += 1
            self._state.notify_all()

    def try_now(self) -> None:
        """Make the next attempt now even when the link is down; when it fails, the pause continues."""
        with self._state:
            self._link_state.cut_short()
            self._held_until = float("-inf")
            self._turns.request_refresh()
            self._news += 1
            self._state.notify_all()

    def is_alive(self) -> bool:
        """Return whether the thread is alive."""
        return self._thread.is_alive()

    def view(self) -> LinkView:
        """Return the state of the link, for reports."""
        with self._state:
            state = self._link_state
            held = self._held_reason if self._clock.monotonic() < self._held_until else ""
            return LinkView(
                to=self._link.to,
                state=state.state,
                since=state.since,
                since_age_s=state.since_age_s(),
                reason=held or state.reason,
                status=state.status,
                paused=state.is_blocked or bool(held),
                next_try_at=self._clock.now() + self._wait_s(),
                rates=self._traffic.rates(),
                counts=replace(self._traffic.counts),
                attempts=self._traffic.attempts(),
            )

    def _run(self) -> None:
        while not self._stopping:
            try:
                if self._ready():
                    self._step()
            except SpoolError as error:
                self._hold(f"{error.message}; no event is removed from the queue until this works again")
            except Exception:  # noqa: BLE001 - without this thread the relay would fill up unnoticed
                _log.exception("unexpected error while forwarding; forwarding continues")
                self._hold("unexpected error, see the log")

    def _ready(self) -> bool:
        """Wait until an attempt may be made; return False when another process holds the lease, or at shutdown."""
        with self._state:
            while not self._stopping and (wait_s := self._wait_s()) > 0:
                self._clock.wait(self._state, wait_s)
            if self._stopping:
                return False
            if self._lease is None or self._lease.acquire():
                return True
            self._clock.wait(self._state, LEASE_POLL_S)
            return False

    def _wait_s(self) -> float:
        """Return the seconds until the next request may be made; the rate limit delays events but not probes."""
        now = self._clock.monotonic()
        rated_s = 0.0 if self._link_state.unproven else self._traffic.sendable_at - now
        return max(0.0, self._link_state.left_s(), self._held_until - now, rated_s)

    def _step(self) -> None:
        """Do one of three things: probe the link, send a request, or wait until there is an entry to send."""
        self._spool.keep_limits()
        with self._state:
            unproven, news = self._link_state.unproven, self._news
        if unproven:
            self._probe(idle=False)
            return
        lane, entries = self._turns.choose(self._limit, self._unfinished, self._sender.known())
        if entries:
            self._send(lane, self._sender.prepared(entries))
        elif self._is_probe_due():
            self._probe(idle=True)
        else:
            with self._state:
                if self._news == news and not self._stopping:
                    self._clock.wait(self._state, POLL_S)

    def _is_probe_due(self) -> bool:
        """Return whether to probe the link: it was idle for `probe_s`, or new credentials haven't been tried yet."""
        with self._state:
            if 0 < self._probe_s <= self._clock.monotonic() - self._link_state.heard_at:
                return True
        return self._link.has_new_credentials()

    def _limit(self, lane: str) -> tuple[int, int]:
        with self._state:
            return self._traffic.limit(lane)

    def _unfinished(self, lane: str) -> Entry | None:
        """Return the entry of a lane of which some parts were sent.

        The result is None when there is none, or when an operator has deleted the entry meanwhile.
        """
        entry = self._sender.unfinished(lane)
        if entry is None or self._spool.is_queued(entry.seq):
            return entry
        self._sender.put_off(entry)
        return None

    def _probe(self, *, idle: bool) -> None:
        """Send a probe: ask the receiver which site it identifies this relay as, and record the result.

        Args:
            idle: Whether no event is due.
        """
        held = self._spool.counts()
        empty = not any(held.get(lane, (0, 0))[0] for lane in self.classes)
        try:
            site = self._link.probe()
        except ConfigError as error:
            failure = RequestFailure(reason=error.message, refused=True)
        except DeliveryError as error:
            failure = classify_failure(error, events=0)
        else:
            if self._site in ("", site):
                self._turns.foreign.site_is(site)
                with self._state:
                    self._link_state.probed(idle=idle or empty, empty=empty)
                return
            known = f"the receiver identifies this relay by its token as site {site[:64]!r}"
            advice = f"set site: {site[:64]}, or use the token of {self._site}"
            failure = RequestFailure(reason=f"{known}, but eaves.yaml says site {self._site!r}; {advice}", refused=True)
        with self._state:
            self._link_state.probe_failed(
                failure.reason, failure.status, refused=failure.refused, asked_s=failure.asked_s
            )

    def _send(self, lane: str, entries: Sequence[Entry]) -> None:
        began = self._clock.monotonic()
        _, max_bytes = self._limit(lane)
        with self._state:
            sends_ahead = self._traffic.sends_ahead(lane)
        try:
            sent = self._sender.send(
                lane,
                entries,
                max_bytes=max_bytes,
                limit_s=self._traffic.limit_s,
                guess_next=lambda: self._turns.guess_next(lane, entries[-1], self._limit(lane)),
                sends_ahead=sends_ahead,
            )
        except ConfigError as error:
            self._settlement.failed(lane, entries, RequestFailure(reason=error.message, refused=True))
            return
        except DeliveryError as error:
            failure = classify_failure(
                error,
                events=len(entries),
                kind=self._sender.kind,
                body_bytes=self._sender.attempted_bytes,
            )
            self._settlement.failed(lane, entries, failure)
            return
        foreign = self._settlement.succeeded(lane, entries, sent.answer)
        now = self._clock.monotonic()
        with self._state:
            if foreign:
                self._link_state.events_refused(foreign, FOREIGN)
            else:
                self._link_state.sent()
            self._held_reason = ""
            self._traffic.succeeded(lane, entries, sent, took_s=now - began, now=now)

    def _hold(self, reason: str) -> None:
        """Pause forwarding for a while because of a fault on this machine."""
        with self._state:
            if reason != self._held_reason:
                _log.error("forwarding is paused: %s", reason)
            self._held_reason = reason
            self._held_until = self._clock.monotonic() + SPOOL_PAUSE_S
