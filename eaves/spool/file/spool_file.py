"""The file of a spool, which is replaced by a new one when it is found damaged."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from eaves.base.clock import Clock
from eaves.errors import SpoolDamagedError, SpoolError
from eaves.spool.file.database import Database
from eaves.spool.file.salvage import replace_damaged
from eaves.spool.ledger import LedgerLimits

REPAIR_PAUSES = 10.0
"""Factor of the pause after a damaged file could not be replaced, for example on a full disk: the pause is the duration
of the failed attempt times this factor.
"""


class SpoolFile:
    """An open spool file, which many threads can use.

    Args:
        path: Path of the file, which is created together with its folder when it doesn't exist.
        connect: Function that opens a connection to the file.
        clock: Clock for monotonic time.
        ledger: Limits of the ledger that is created when the file has none; None creates none.

    Attributes:
        current: The file as it was opened last, damaged or not.

    Raises:
        SpoolError: When the file can't be opened, or isn't a spool that this version reads. The file is left unchanged.
    """

    def __init__(
        self, path: Path, connect: Callable[[Path], sqlite3.Connection], *, clock: Clock, ledger: LedgerLimits | None
    ) -> None:
        self._path = path
        self._connect = connect
        self._clock = clock
        self._ledger = ledger
        self._swap = threading.Lock()
        self._repair_at = float("-inf")
        self._closed = self.has_ledger = False
        try:
            self.current = self._open()
        except SpoolDamagedError:
            replace_damaged(path, ledger=ledger is not None)
            self.current = self._open()
        self.has_ledger = self.current.has_ledger

    def close(self) -> None:
        """Close the file after the commit in progress; every later call raises SpoolError."""
        with self._swap:
            self._closed = True
            self.current.close()

    def database(self) -> Database:
        """Return the open file, which is replaced first when it was found damaged.

        Raises:
            SpoolError: When the file is damaged and can't be replaced.
        """
        if not self.current.damaged:
            return self.current
        with self._swap:
            if self.current.damaged and not self._closed:
                self.current.close()
                self._repair()
            return self.current

    def _repair(self) -> None:
        """Replace a damaged file. After a failure the next attempt waits ten times as long as the failed one took."""
        began = self._clock.monotonic()
        if began < self._repair_at:
            raise SpoolError(f"{self._path} is damaged and can't be replaced yet; the next try follows soon")
        try:
            if not self.current.is_replaced():
                replace_damaged(self._path, ledger=self.has_ledger)
            self.current = self._open()
        except SpoolError:
            now = self._clock.monotonic()
            self._repair_at = now + REPAIR_PAUSES * (now - began)
            raise

    def _open(self) -> Database:
        ignored = self._ledger.ignored_lanes if self._ledger else None
        ledger = self.has_ledger or self._ledger is not None
        return Database(self._path, self._connect, clock=self._clock, ledger=ledger, ignored_lanes=ignored)
