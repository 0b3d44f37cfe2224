"""A lane that is delivered from a real spool, and sinks that are functions: the only place that builds a deliverer."""

import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eaves.base.backoff import Backoff
from eaves.delivery import Deliverer, EventSender, LaneDelivery, SinkResponse
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, Event
from eaves.spool import Entry, Puts, Spool
from tests.attempts import Attempts
from tests.fakes.clock import FrozenClock

NOW = 1_000_000.0
FROZEN = FrozenClock(NOW)
AT_ONCE = Backoff(retry=3, first_s=0.0)
FOR_EVER = Backoff(retry=None, first_s=0.001, cap_s=0.01)
TAKEN = SinkResponse(status=202)


def image(number: int = 0) -> Event:
    return Event(id=f"id-{number}", source="/eaves/site/camera", type=IMAGE_CAPTURED, data=b"jpeg")


def reply_to(event: Event) -> Event:
    return Event(id=f"reply-{event.id}", source="/eaves/site/function", type=IMAGE_CLASSIFIED, data=b"{}")


def forward(entry: Entry, reply: Event) -> Puts:
    return [(reply, ("replies",))]


class Sink:
    """Answers with each of `script` in turn, the last one for ever; an exception is raised."""

    def __init__(self, *script: SinkResponse | Exception) -> None:
        self.script = list(script)
        self.got: list[str] = []
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> SinkResponse:
        with self._lock:
            self.got.append(event.id)
            answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Wall:
    """Refuses some events always with one answer, and whatever `down` says besides.

    Attributes:
        counted: Requests by id of their event.
    """

    def __init__(
        self, answer: SinkResponse, *refused: str, down: Callable[[int], bool] = lambda _number: False
    ) -> None:
        self.answer = answer
        self.refused = set(refused)
        self.counted = Counter[str]()
        self._down = down
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> SinkResponse:
        with self._lock:
            self.counted[event.id] += 1
            is_refused = event.id in self.refused or self._down(self.counted.total())
        return self.answer if is_refused else TAKEN


class FailingDisk:
    """Connections of a spool that fail, or wait, at each statement that begins with a word.

    Attributes:
        statements: Number of statements so far.
        fails: The word; empty: nothing fails.
        holds: Waited for at SELECT, unless it is set.
    """

    def __init__(self) -> None:
        self.statements = 0
        self.fails = ""
        self.holds = threading.Event()
        self.holds.set()

    def connect(self, path: Path) -> sqlite3.Connection:
        disk = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
                disk.statements += 1
                if disk.fails and sql.startswith(disk.fails):
                    raise sqlite3.OperationalError("database or disk is full")
                assert not sql.startswith("SELECT") or disk.holds.wait(20)
                return super().execute(sql, parameters)

        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Connection)


@dataclass
class Lane:
    """Lane "out" while it is delivered.

    Attributes:
        attempts: Attempts that were made, as they come.
        stop: Stops the delivery; false when something is still in flight after so many seconds.
        status: What is reported of the lane.
        try_now: Ends a pause for one attempt.
    """

    status: Callable[[], LaneDelivery]
    stop: Callable[[float], bool]
    try_now: Callable[[], None]
    attempts: Attempts = field(default_factory=Attempts)

    def outcomes(self) -> list[str]:
        return [attempt.outcome.value for attempt in self.attempts]


@contextmanager
def delivering(
    spool: Spool,
    send: Callable[[Event], SinkResponse],
    *,
    backoff: Backoff = AT_ONCE,
    lane: str = "out",
    **options: Any,
) -> Iterator[Lane]:
    """A lane that is delivered while the block runs."""
    attempts = Attempts()
    sender = EventSender(
        send,
        **{
            name: options.pop(name)
            for name in ("parallel", "on_reply", "reply_required", "reply_lane")
            if name in options
        },
    )
    options = {"clock": spool.clock, "jitter": lambda: 0.0, "observe": attempts.observe, "backoff": backoff, **options}
    deliverer = Deliverer(spool, lane, sender, **options)
    deliverer.start()
    try:
        yield Lane(deliverer.status, deliverer.stop, deliverer.try_now, attempts)
    finally:
        assert deliverer.stop(10.0)
