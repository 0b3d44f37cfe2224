"""A deliverer at work over a real spool, and sinks that are functions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from eaves.base.backoff import Backoff
from eaves.base.clock import Clock
from eaves.delivery import (
    Deliverer,
    DeliveryAttempt,
    DeliveryOutcome,
    EventSender,
    SinkResponse,
)
from eaves.delivery.attempts import OnReply
from eaves.delivery.deliverer import OnDead
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, Event
from eaves.spool import Entry, Lease, Puts, Spool
from tests.fakes.clock import FrozenClock

NOW = 1_000_000.0
FROZEN = FrozenClock(NOW)
AT_ONCE = Backoff(retry=3, first_s=0.0)
FOR_EVER = Backoff(retry=None, first_s=0.001, cap_s=0.01)


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


@contextmanager
def delivering(
    spool: Spool,
    send: Callable[[Event], SinkResponse],
    *,
    backoff: Backoff = AT_ONCE,
    parallel: int = 1,
    on_reply: OnReply | None = None,
    on_dead: OnDead | None = None,
    reply_required: bool = False,
    lease: Lease | None = None,
    clock: Clock = FROZEN,
) -> Iterator[list[DeliveryAttempt]]:
    """A deliverer of lane "out" at work; yields the attempts it makes, as they come."""
    attempts: list[DeliveryAttempt] = []
    deliverer = Deliverer(
        spool,
        "out",
        EventSender(send, parallel=parallel, on_reply=on_reply, reply_required=reply_required),
        backoff=backoff,
        on_dead=on_dead,
        observe=attempts.append,
        leases=[lease] if lease else [],
        clock=clock,
        jitter=lambda: 0.0,
    )
    deliverer.start()
    try:
        yield attempts
    finally:
        assert deliverer.stop(10.0)


def outcomes(attempts: list[DeliveryAttempt]) -> list[DeliveryOutcome]:
    return [attempt.outcome for attempt in attempts]
