"""The next request, packed while the one before it is on its way."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from eaves.link.packing import Packed, pack
from eaves.spool import Entry

LEAST_ENTRIES = 50
"""A request of fewer entries is no drain, and the next one is packed in no time."""
STOP_S = 1.0
"""How long a piece of work that is under way has at the end, seconds."""

_log = logging.getLogger(__name__)


class PackAhead:
    """Reads and packs entries in a thread of its own, which has the processor while the forwarder waits.

    What is prepared is a guess: it is used when the forwarder chooses the same entries, and forgotten otherwise. For
    one thread.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._found: tuple[Sequence[Entry], Packed] | None = None

    def begin(self, choose: Callable[[], Sequence[Entry]]) -> None:
        """Prepare a request; what was prepared before is forgotten.

        Args:
            choose: Gives the entries that are likely to come next, in order. Called in the other thread.
        """
        self.stop()

        def work() -> None:
            try:
                if entries := choose():
                    self._found = entries, pack([entry.event for entry in entries])
            except Exception:  # noqa: BLE001 - nothing is lost: the forwarder packs it itself, and meets the error
                _log.debug("the next request could not be prepared", exc_info=True)

        self._thread = threading.Thread(target=work, name="pack-ahead", daemon=True)
        self._thread.start()

    def take(self, entries: Sequence[Entry]) -> tuple[Sequence[Entry], Packed] | None:
        """The prepared request when it holds the first of these entries, and nothing else; None otherwise.

        Args:
            entries: What is to be sent, in order.
        """
        if self._thread is not None:
            self._thread.join()
        found, self._thread, self._found = self._found, None, None
        if found is None:
            return None
        prepared = [entry.seq for entry in found[0]]
        return found if prepared == [entry.seq for entry in entries[: len(prepared)]] else None

    def stop(self) -> None:
        """Forget what is prepared."""
        if self._thread is not None:
            self._thread.join(STOP_S)
        self._thread = self._found = None
