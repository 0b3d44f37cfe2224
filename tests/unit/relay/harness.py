"""A forwarder at work over a real spool, and a link whose other end is a function."""

from __future__ import annotations

import gzip
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eaves.base.backoff import Backoff
from eaves.base.clock import Clock
from eaves.delivery import Deliverer
from eaves.errors import DeliveryError, StatusError
from eaves.events import IMAGE_CLASSIFIED, Event, decode
from eaves.link import BatchAnswer, RefusedEvent, decode_batch
from eaves.link.batch import MEDIA_TYPE, Packed
from eaves.relay.link_sender import ForwardedCounts, LinkSender
from eaves.relay.relay_lanes import ARCHIVE, CLASSES
from eaves.spool import Spool
from eaves.spool.file import connect
from tests.fakes.clock import FrozenClock
from tests.waiting import wait_until

SITE = "north"
QUICK = Backoff(retry=None, first_s=0.02, cap_s=0.1)
Answer = BatchAnswer | Exception | None


def event(number: int, **fields: Any) -> Event:
    known: dict[str, Any] = {
        "id": f"id-{number}",
        "source": "/eaves/north/flowers",
        "type": IMAGE_CLASSIFIED,
        "datacontenttype": "application/json",
        "data": b'{"label": "rose"}',
    }
    return Event(**{**known, **fields})


def status_error(status: int, **more: Any) -> StatusError:
    return StatusError(f"answered {status}", status=status, **more)


class FakeLink:
    """Implements `eaves.relay.link_sender.LinkProtocol`.

    Attributes:
        answers: Gives what a request is answered; None: all of it is stored. An exception is raised.
        probed: Gives what a probe is answered.
        requests: Ids of the events of each request that was made.
        stored: Ids of events in the order in which they were stored.
        calls: `probe` and `send` in the order in which they came.
        bodies: Bodies that come in parts, by their digest.
        parts: Offset and bytes of each part.
        part_answers: What a part is answered; None: it is kept. An exception is raised.
        limits: The time limit of each request, seconds.
    """

    to = "https://receiver"

    def __init__(self) -> None:
        self.answers: Callable[[list[Event]], Answer] = lambda events: None
        self.probed: Callable[[], str | Exception] = lambda: SITE
        self.requests: list[list[str]] = []
        self.stored: list[str] = []
        self.calls: list[str] = []
        self.limits: list[float] = []
        self.bodies: dict[str, bytearray] = {}
        self.parts: list[tuple[int, int]] = []
        self.part_answers: Callable[[], int | Exception | None] = lambda: None
        self.aborted = threading.Event()

    def probe(self) -> str:
        self.calls.append("probe")
        found = self.probed()
        if isinstance(found, Exception):
            raise found
        return found

    def has_new_credentials(self) -> bool:
        return False

    def send_part(self, digest: str, part: memoryview, *, offset: int, size: int, timeout_s: float) -> int:
        self.calls.append("part")
        self.parts.append((offset, len(part)))
        found = self.part_answers()
        if isinstance(found, Exception):
            raise found
        if found is not None:
            return found
        there = self.bodies.setdefault(digest, bytearray())
        if offset == len(there):
            there += part
        return len(there)

    def send_packed(self, packed: Packed, *, timeout_s: float, uploaded: str = "") -> BatchAnswer:
        self.calls.append("send")
        if uploaded and bytes(self.bodies.get(uploaded, b"")) != packed.body:
            raise status_error(412)
        self.limits.append(timeout_s)
        events = unpack(packed)
        self.requests.append([one.id for one in events])
        answer = self.answers(events)
        if isinstance(answer, Exception):
            raise answer
        refused = {one.index for one in answer.refused} if answer else set()
        self.stored += [one.id for index, one in enumerate(events) if index not in refused]
        return answer or BatchAnswer(stored=len(events), repeated=0)

    def abort(self) -> None:
        self.aborted.set()


def unpack(packed: Packed) -> list[Event]:
    if packed.headers.get("Content-Type") != MEDIA_TYPE:
        return [decode(packed.headers, packed.body)]
    return [one for one in decode_batch(gzip.decompress(packed.body)) if isinstance(one, Event)]


def refusing(bad: set[str], status: int = 409) -> Callable[[list[Event]], Answer]:
    """Refuses these events alone, as a receiver does."""

    def answer(events: list[Event]) -> Answer:
        refused = tuple(
            RefusedEvent(index=index, status=status, detail="not yours")
            for index, one in enumerate(events)
            if one.id in bad
        )
        return BatchAnswer(stored=len(events) - len(refused), repeated=0, refused=refused)

    return answer


def poisoned(bad: set[str], error: Callable[[], Exception]) -> Callable[[list[Event]], Answer]:
    """Fails for every request that holds one of these events, as something that looks at bodies does."""
    return lambda events: error() if any(one.id in bad for one in events) else None


class Forwarder(Deliverer):
    """A deliverer over a link, with what tests ask of it."""

    @property
    def counts(self) -> ForwardedCounts:
        """Numbers of forwarded events."""
        assert isinstance(self._sender, LinkSender)
        return self._sender.counts

    def attempts(self, lane: str) -> Mapping[str, int]:
        """Numbers of attempts with entries of a lane, by outcome."""
        return self.status(lane).attempts


class Rig:
    """A spool, a link and what forwards the one over the other."""

    def __init__(
        self,
        folder: Path,
        clock: Clock | None = None,
        connect: Callable[[Path], sqlite3.Connection] = connect,
        **options: Any,
    ) -> None:
        self.clock = clock or FrozenClock()
        self.spool = Spool(folder / "relay.db", clock=self.clock, connect=connect)
        self.link = FakeLink()
        self.sender = LinkSender(
            self.link,
            site=SITE,
            clock=self.clock,
            **{name: options.pop(name) for name in ("rate_bytes", "probe_s") if name in options},
        )
        self.forwarder = Forwarder(
            self.spool,
            CLASSES,
            self.sender,
            **{"clock": self.clock, "jitter": lambda: 0.0, "backoff": QUICK, **options},
        )

    def put(self, *events: Event, lane: str = ARCHIVE) -> None:
        self.spool.put_many([(one, (lane,)) for one in events], once=True)

    def queued(self) -> int:
        return self.spool.depth()

    def dead(self) -> dict[str, str]:
        return {letter.entry.event.id: letter.reason for letter in self.spool.dead()}

    def state(self) -> str:
        return self.forwarder.view().state.value

    def wait_until_empty(self, timeout_s: float = 20.0) -> None:
        wait_until(lambda: not self.queued(), timeout_s, what="an empty queue")


@contextmanager
def forwarding(folder: Path, *events: Event, **options: Any) -> Iterator[Rig]:
    """A rig whose events were put before; the test starts the forwarder."""
    rig = Rig(folder, **options)
    rig.put(*events)
    try:
        yield rig
    finally:
        assert rig.forwarder.stop(5.0)
        rig.spool.close()


def lost() -> DeliveryError:
    return DeliveryError("no answer")
