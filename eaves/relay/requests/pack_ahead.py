"""Preparation of the next request while the current one is in progress; all but its last piece may be sent already."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from eaves.errors import DeliveryError
from eaves.link import BatchAnswer
from eaves.link.batch import Packed, pack
from eaves.link.body_gate import HOLD_S, BodyGate
from eaves.spool import Entry

LEAST_ENTRIES = 50
"""Minimum number of entries in the current request for the next one to be prepared meanwhile. After a smaller request
the next one is small too, and is packed quickly when it is needed."""
STOP_S = 1.0
"""Time limit at shutdown for the work in progress, seconds."""

Send = Callable[[Packed, BodyGate], BatchAnswer]
"""Function that sends a request, but holds back the last piece of its body until a gate opens; returns the answer."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Prepared:
    """A prepared request.

    Attributes:
        entries: Entries in the request.
        packed: Headers and body of the request.
        gate: Gate that holds back the end of the body; None when nothing is sent before the request's turn.
        answer: Receives the answer when there is a gate.
    """

    entries: Sequence[Entry]
    packed: Packed
    gate: BodyGate | None = None
    answer: Future[BatchAnswer] = field(default_factory=Future)


class PackAhead:
    """Reads, packs and begins to send entries in a thread of its own while the forwarder waits for an answer.

    The entries of the next request are guessed. The prepared request is used when the forwarder then chooses the same
    entries, and dropped otherwise. The last
    piece of the body is sent only after that choice, so a receiver never has the complete request before the one that
    precedes it. For one thread only.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._packed = threading.Event()
        self._found: Prepared | None = None

    def prepare(
        self, choose: Callable[[], Sequence[Entry]], *, after: BodyGate | None = None, send: Send | None = None
    ) -> None:
        """Prepare a request, and drop the one that was prepared before.

        Args:
            choose: Returns the entries that are likely to come next, in order. Called in the preparing thread.
            after: Gate of the current request. The link belongs to that request until its body was handed over.
            send: Sends the request; with None it is only packed. Called in the preparing thread.
        """
        self.stop()
        self._packed = packed = threading.Event()

        def work() -> None:
            try:
                if entries := choose():
                    found = Prepared(entries, pack([entry.event for entry in entries]))
                    if send is not None and found.packed.is_batch:
                        found.gate = BodyGate()
                    if self._packed is not packed:  # it took longer than `stop` waits
                        return
                    self._found = found
                    packed.set()
                    if send is not None and found.gate is not None:
                        _send_early(found, found.gate, after, send)
            except Exception:  # noqa: BLE001 - nothing is lost: the forwarder packs it itself and gets the error
                _log.debug("the next request could not be prepared", exc_info=True)
            finally:
                packed.set()

        self._thread = threading.Thread(target=work, name="pack-ahead", daemon=True)
        self._thread.start()

    def entries(self) -> Sequence[Entry]:
        """Return the entries of the prepared request; empty when no request is prepared."""
        if self._thread is not None:
            self._packed.wait()
        return self._found.entries if self._found is not None else ()

    def get_packed(self, entries: Sequence[Entry]) -> Prepared | None:
        """Return the prepared request when it holds exactly the first of these entries; None otherwise.

        The prepared request is kept when entries of another lane come first, as with an alarm.

        Args:
            entries: Entries that are to be sent, in order.
        """
        prepared = self.entries()
        if prepared and entries and prepared[0].lane != entries[0].lane:
            return None
        found, self._thread, self._found = self._found, None, None
        if found is None:
            return None
        if [entry.seq for entry in found.entries] == [entry.seq for entry in entries[: len(found.entries)]]:
            return found
        if found.gate is not None:
            found.gate.withdraw()
        return None

    def stop(self) -> None:
        """Drop the prepared request and wait until the preparing thread has ended."""
        thread = self._thread
        if thread is not None:
            self._packed.wait(STOP_S)
        if self._found is not None and self._found.gate is not None:
            self._found.gate.withdraw()
        elif thread is not None:
            thread.join(STOP_S)
        self._thread = self._found = None
        self._packed = threading.Event()


def _send_early(found: Prepared, gate: BodyGate, after: BodyGate | None, send: Send) -> None:
    """Send a prepared request whose last piece is held back until `gate` opens, and store its answer."""
    try:
        if after is not None and not after.wait_handed(HOLD_S):
            gate.withdraw()
        if gate.is_withdrawn:
            raise DeliveryError("the request was cancelled")
        found.answer.set_result(send(found.packed, gate))
    except Exception as error:  # noqa: BLE001 - raised where the answer is waited for
        found.answer.set_exception(error)
    finally:
        gate.end()
