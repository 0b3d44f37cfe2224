"""The next request, packed and all but sent while the one before it is on its way."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from eaves.errors import DeliveryError
from eaves.link import BatchAnswer
from eaves.link.body_gate import HOLD_S, BodyGate
from eaves.link.packing import Packed, pack
from eaves.spool import Entry

LEAST_ENTRIES = 50
"""A request of fewer entries is no drain, and the next one is packed in no time."""
STOP_S = 1.0
"""How long a piece of work that is under way has at the end, seconds."""

Send = Callable[[Packed, BodyGate], BatchAnswer]
"""Makes a request whose last piece waits for a gate."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Prepared:
    """A request that is prepared.

    Attributes:
        entries: What it holds.
        packed: The request.
        gate: Holds back its end; None when nothing of it is sent before its turn.
        answer: What it is answered, with a gate.
    """

    entries: Sequence[Entry]
    packed: Packed
    gate: BodyGate | None = None
    answer: Future[BatchAnswer] = field(default_factory=Future)


class PackAhead:
    """Reads, packs and begins to send entries in a thread of its own, while the forwarder waits for an answer.

    What is prepared is a guess: it is used when the forwarder chooses the same entries, and forgotten otherwise. The
    last piece of its body is sent after that only, so a receiver never has it before the request that it follows. For
    one thread.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._packed = threading.Event()
        self._found: Prepared | None = None

    def prepare(
        self, choose: Callable[[], Sequence[Entry]], *, after: BodyGate | None = None, send: Send | None = None
    ) -> None:
        """Prepare a request; what was prepared before is forgotten.

        Args:
            choose: Gives the entries that are likely to come next, in order. Called in the other thread.
            after: Of the request that is under way. The link is its alone until its body was handed over.
            send: Makes the request; None: it is only packed. Called in the other thread.
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
            except Exception:  # noqa: BLE001 - nothing is lost: the forwarder packs it itself, and meets the error
                _log.debug("the next request could not be prepared", exc_info=True)
            finally:
                packed.set()

        self._thread = threading.Thread(target=work, name="pack-ahead", daemon=True)
        self._thread.start()

    def entries(self) -> Sequence[Entry]:
        """The entries of the prepared request; none when none is prepared."""
        if self._thread is not None:
            self._packed.wait()
        return self._found.entries if self._found is not None else ()

    def get_packed(self, entries: Sequence[Entry]) -> Prepared | None:
        """The prepared request when it holds the first of these entries, and nothing else; None otherwise.

        It is kept when entries of another class come first, as an alarm does.

        Args:
            entries: What is to be sent, in order.
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
        """Forget what is prepared."""
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
    """Make a request whose end waits for its turn."""
    try:
        if after is not None and not after.wait_handed(HOLD_S):
            gate.withdraw()
        if gate.is_withdrawn:
            raise DeliveryError("the request is not needed any more")
        found.answer.set_result(send(found.packed, gate))
    except Exception as error:  # noqa: BLE001 - raised where the answer is waited for
        found.answer.set_exception(error)
    finally:
        gate.end()
