"""Thread that moves entries from the spool into a folder."""

from __future__ import annotations

import logging
import random
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from eaves.base.backoff import Backoff
from eaves.base.clock import SYSTEM, Clock
from eaves.delivery import DeliveryOutcome, LaneDelivery
from eaves.delivery.pause import Pause
from eaves.errors import EavesError
from eaves.receiver.folder.archive import Archive
from eaves.spool import Lease, Spool

IDLE_S = 30.0
LEASE_POLL_S = 0.5
BATCH, BATCH_BYTES = 500, 8_000_000
"""Maximum number of entries, and of their bytes, that are written and released together."""
PATIENCE = Backoff(retry=None, first_s=0.5, cap_s=30.0)

_log = logging.getLogger(__name__)


class FolderWriter:
    """Writes a lane's entries into a folder, and releases them once they are on disk. It never gives an entry up.

    Args:
        spool: Spool that holds the entries.
        lane: Lane to write.
        archive: Folder to write to. It accepts `BATCH` entries at once.
        leases: Leases that the thread waits for and takes before it writes anything.
        clock: Wall clock and monotonic clock.
        jitter: Returns a random number in [0, 1).
    """

    def __init__(
        self, spool: Spool, lane: str, archive: Archive, *, leases: tuple[Lease, ...] = (), clock: Clock = SYSTEM,
        jitter: Callable[[], float] = random.random,
    ) -> None:  # fmt: skip
        self._spool = spool
        self._lane = lane
        self._archive = archive
        self._leases = leases
        self._clock = clock
        self._state = threading.Condition()
        self._pause = Pause(lane, PATIENCE, clock, jitter)
        self._attempts: Counter[str] = Counter()
        self._locked_out, self._locked_since = "", 0.0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"write-{lane}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float = 30.0) -> bool:
        """Stop after the current write; return False when it takes longer than `timeout_s`."""
        with self._state:
            self._stopping = True
            self._state.notify_all()
        self._spool.wake()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        if self._thread.is_alive():
            return False
        for lease in self._leases:
            lease.release()
        return True

    def status(self) -> LaneDelivery:
        """Return the state of the lane's delivery."""
        with self._state:
            pause, attempts = self._pause, dict(self._attempts)
            if self._locked_out:
                reason, since = self._locked_out, self._locked_since
                return LaneDelivery(lane=self._lane, paused=True, reason=reason, since=since, attempts=attempts)
            if not pause.active:
                return LaneDelivery(lane=self._lane, attempts=attempts)
            return LaneDelivery(
                lane=self._lane,
                paused=True,
                reason=pause.reason,
                since=pause.since,
                next_try_at=self._clock.now() + pause.left_s(),
                attempts=attempts,
            )

    def try_now(self) -> None:
        """Write now even when the lane is paused."""
        with self._state:
            self._pause.cut_short()
            self._state.notify_all()

    def is_alive(self) -> bool:
        """Return whether the thread is alive."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping:
            try:
                if self._ready():
                    self._write_next()
            except EavesError as error:
                self._fail(error.message)
            except Exception:  # noqa: BLE001 - without its thread the lane would stop unnoticed
                _log.exception(
                    "queue %s: unexpected error while its events were written to the folder; writing continues",
                    self._lane,
                )
                self._fail("unexpected error, see the log")

    def _ready(self) -> bool:
        with self._state:
            while not self._stopping and (wait_s := self._pause.left_s()) > 0:
                self._clock.wait(self._state, wait_s)
            if self._stopping:
                return False
            taken = next((lease.path for lease in self._leases if not lease.acquire()), None)
            self._note_lock(taken)
            if taken is None:
                return True
            self._clock.wait(self._state, LEASE_POLL_S)
            return False

    def _note_lock(self, path: Path | None) -> None:
        """Note which lock file another process holds; None when this process holds all of them.

        The caller holds the lock of `_state`.
        """
        reason = (
            "" if path is None else (f"another receiver writes to {path}; this one waits until that receiver has ended")
        )
        if reason and reason != self._locked_out:
            self._locked_since = self._clock.now()
            _log.warning("queue %s is paused: %s", self._lane, reason)
        if self._locked_out and not reason:
            _log.info("queue %s continues: the other receiver has ended", self._lane)
        self._locked_out = reason

    def _write_next(self) -> None:
        self._spool.keep_limits()
        version = self._spool.version(self._lane)
        if self._stopping:
            return
        entries = self._spool.peek_batch(self._lane, now=self._clock.now(), max_events=BATCH, max_bytes=BATCH_BYTES)
        if entries:
            self._archive.write(entries)
            self._spool.ack_many(entries)
        with self._state:
            self._pause.end()
            self._attempts[DeliveryOutcome.DELIVERED.value] += len(entries)
        if not entries:
            self._spool.wait(version, IDLE_S)

    def _fail(self, reason: str) -> None:
        with self._state:
            self._attempts[DeliveryOutcome.RETRIED.value] += 1
            self._pause.fail(reason, 0)
