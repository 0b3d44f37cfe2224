"""A relay's queue that is forwarded over HTTP to a receiver that answers as a test tells it.

This is the only place that builds what forwards.
"""

import random
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eaves.base.backoff import Backoff
from eaves.base.clock import Clock
from eaves.delivery import Deliverer, SinkView
from eaves.events import IMAGE_CLASSIFIED, Event
from eaves.link.client import LinkClient
from eaves.link.sender import ForwardedCounts, LinkSender
from eaves.link.settings import ARCHIVE, CLASSES
from eaves.spool import Spool
from eaves.spool.file import connect
from tests.fakes.clock import FrozenClock
from tests.fakes.http.receiver import FakeReceiver, Reply, Script, receiving
from tests.waiting import wait_until

QUICK = Backoff(retry=None, first_s=0.02, cap_s=0.1)
LOST = Reply(body=b"x", cut_after=0)
"""An answer that never comes."""


def event(number: int, **fields: Any) -> Event:
    known: dict[str, Any] = {
        "id": f"id-{number}",
        "source": "/eaves/north/flowers",
        "type": IMAGE_CLASSIFIED,
        "datacontenttype": "application/json",
        "data": b'{"label": "rose"}',
    }
    return Event(**{**known, **fields})


def picture(number: int, size_bytes: int = 300_000) -> Event:
    return event(number, data=random.Random(number).randbytes(size_bytes), datacontenttype="image/jpeg")


class QuickClock:
    """Implements `eaves.base.clock.Clock`: a wait is over at once, and has taken its time.

    Attributes:
        elapsed_s: What has passed.
        jump_s: Seconds by which the wall clock was set.
    """

    def __init__(self) -> None:
        self.elapsed_s = 0.0
        self.jump_s = 0.0

    def now(self) -> float:
        return 1_700_000_000.0 + self.elapsed_s + self.jump_s

    def monotonic(self) -> float:
        return self.elapsed_s

    def wait(self, condition: threading.Condition, timeout_s: float) -> None:
        self.elapsed_s += max(timeout_s, 0.001)


class Rig:
    """A queue, a receiver and what forwards the one to the other."""

    def __init__(
        self,
        folder: Path,
        receiver: FakeReceiver,
        clock: Clock | None = None,
        connect: Callable[[Path], sqlite3.Connection] = connect,
        **options: Any,
    ) -> None:
        self.clock = clock or FrozenClock()
        self.spool = Spool(folder / "relay.db", clock=self.clock, connect=connect)
        self.receiver = receiver
        self._link = LinkClient(receiver.url, folder / "link")
        sends = {name: options.pop(name) for name in ("rate_bytes", "probe_s") if name in options}
        self._sender = LinkSender(self._link, site="north", clock=self.clock, **sends)
        known = {"leases": [self.spool.lease("link")], "clock": self.clock}
        options = {**known, "jitter": lambda: 0.0, "backoff": QUICK, **options}
        self._forwarder = Deliverer(self.spool, CLASSES, self._sender, **options)
        self.start, self.stop, self.try_now = self._forwarder.start, self._forwarder.stop, self._forwarder.try_now

    def close(self) -> None:
        self.receiver.released.set()
        assert self.stop(5.0)
        self._link.close()
        self.spool.close()

    def put(self, *events: Event, lane: str = ARCHIVE) -> None:
        self.spool.put_many([(one, (lane,)) for one in events], once=True)

    def view(self) -> SinkView:
        return self._forwarder.view()

    def counts(self) -> ForwardedCounts:
        return self._sender.counts

    def attempts(self, lane: str) -> Mapping[str, int]:
        return self._forwarder.status(lane).attempts

    def state(self) -> str:
        return self.view().state.value

    def queued(self) -> int:
        return self.spool.depth()

    def dead(self) -> dict[str, str]:
        return {letter.entry.event.id: letter.reason for letter in self.spool.dead()}

    def stored(self) -> list[str]:
        return self.receiver.ids()

    def requests(self) -> list[list[str]]:
        """Ids of the events of each request that came to its end."""
        return [[one.id for one in events] for events in list(self.receiver.requests)]

    def wait_until_empty(self, timeout_s: float = 30.0) -> None:
        wait_until(lambda: not self.queued(), timeout_s, what="an empty queue")


@contextmanager
def forwarding(folder: Path, *events: Event, starts: bool = True, **options: Any) -> Iterator[Rig]:
    """A queue that is forwarded, with events that were put before."""
    with receiving(folder / "link", tls=False) as receiver:
        rig = Rig(folder, receiver, **options)
        rig.put(*events)
        try:
            if starts:
                rig.start()
            yield rig
        finally:
            rig.close()


def names(*numbers: int) -> list[str]:
    return [f"id-{number}" for number in numbers]


def failing(status: int) -> Script:
    return lambda events: Reply(status=status)


def poisoned(bad: set[str], reply: Reply | Callable[[], Reply]) -> Script:
    """Fails for every request that holds one of these events, as something that looks at bodies does."""
    answer = reply if callable(reply) else lambda: reply
    return lambda events: answer() if any(one.id in bad for one in events) else None


def refusing(is_bad: Callable[[Event], bool], status: int = 409) -> Script:
    """Refuses some events alone, as a receiver does."""
    return lambda events: Reply(refused={one.id: status for one in events if is_bad(one)})
