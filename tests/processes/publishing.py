"""Predictions, and what publishes them from a spool as an app's trigger does."""

import json
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from eaves.base.backoff import Backoff
from eaves.base.clock import SYSTEM, Clock
from eaves.delivery.sinks import MqttTriggerSettings, SinkTarget
from eaves.events import IMAGE_CLASSIFIED, Event
from eaves.plugins.mqtt.sink import MqttSink
from eaves.spool import Spool
from tests.attempts import Attempts
from tests.unit.delivery.harness import Lane, delivering
from tests.waiting import wait_until

LANE = "out"
IMPATIENT = Backoff(retry=None, first_s=0.05, cap_s=0.5)


def prediction(number: int, *, label: str = "rose", camera: str = "gate", data: bytes | None = None) -> Event:
    document = {"predictions": [{"label": label, "score": 0.97}], "model": "flowers"}
    return Event(
        id=f"id-{number}",
        source="/eaves/home/flowers",
        type=IMAGE_CLASSIFIED,
        subject=f"{camera}/{number}.jpg",
        time=f"2026-11-25T12:{number // 60 % 60:02}:{number % 60:02}Z",
        datacontenttype="application/json",
        data=json.dumps(document).encode() if data is None else data,
        extensions={"partitionkey": camera, "label": label, "confidence": "high"},
    )


@dataclass(frozen=True)
class Publishing:
    """One trigger's queue while it is emptied.

    Attributes:
        spool: The queue.
        sink: Sink that it delivers to.
        lane: Its only lane.
    """

    spool: Spool
    sink: MqttSink
    lane: Lane

    @property
    def attempts(self) -> Attempts:
        return self.lane.attempts

    def put(self, *events: Event) -> None:
        for event in events:
            self.spool.put(event, lanes=(LANE,))

    def queued(self) -> int:
        return self.spool.depth(LANE)

    def dead(self) -> list[str]:
        return [letter.reason for letter in self.spool.dead(LANE)]

    def reason(self) -> str:
        """Why the queue is paused; empty when it isn't."""
        return self.lane.status().reason

    def wait_until_empty(self, timeout_s: float = 20.0) -> None:
        wait_until(lambda: not self.queued(), timeout_s, what="an empty queue")


@contextmanager
def publishing(
    folder: Path, url: str, *, timeout_s: float = 20.0, parallel: int = 4, clock: Clock = SYSTEM, **settings: Any
) -> Iterator[Publishing]:
    """A queue whose events are published while the block runs."""
    mqtt = MqttTriggerSettings(**settings)
    with ExitStack() as stack:
        spool = stack.enter_context(Spool(folder / "publishing.db"))
        sink = MqttSink(SinkTarget(url=url, settings=mqtt, site="home", app="flowers", clock=clock))
        send = partial(sink.send, timeout_s=timeout_s)
        options = {"parallel": parallel, "jitter": random.random}
        lane = stack.enter_context(delivering(spool, send, backoff=IMPATIENT, lane=LANE, **options))
        stack.callback(sink.close)  # before the lane, whose attempts may wait for it
        yield Publishing(spool, sink, lane)
