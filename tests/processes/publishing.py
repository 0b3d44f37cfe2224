"""Predictions, and what publishes them from a spool as an app's trigger does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eaves.base.backoff import Backoff
from eaves.base.clock import SYSTEM, Clock
from eaves.delivery import Deliverer, DeliveryAttempt, EventSender
from eaves.delivery.mqtt.broker_link import build_link
from eaves.delivery.mqtt.settings import MqttTriggerSettings
from eaves.delivery.mqtt.sink import MqttSink
from eaves.events import IMAGE_CLASSIFIED, Event
from eaves.spool import Spool
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


class Publishing:
    """One trigger's queue and what empties it.

    Attributes:
        spool: The queue.
        deliverer: Deliverer of its only lane.
        sink: Sink that it delivers to.
        attempts: Made so far.
    """

    def __init__(
        self,
        folder: Path,
        url: str,
        *,
        timeout_s: float = 20.0,
        parallel: int = 4,
        clock: Clock = SYSTEM,
        **settings: Any,
    ) -> None:
        mqtt = MqttTriggerSettings(**settings)
        self.spool = Spool(folder / "publishing.db")
        self.link = build_link(url, mqtt, site="home", app="flowers", clock=clock)
        self.sink = MqttSink(url, mqtt, self.link)
        self.attempts: list[DeliveryAttempt] = []
        self.deliverer = Deliverer(
            self.spool,
            LANE,
            EventSender(lambda event: self.sink.send(event, timeout_s=timeout_s), parallel=parallel),
            backoff=IMPATIENT,
            observe=self.attempts.append,
        )

    def put(self, *events: Event) -> None:
        for event in events:
            self.spool.put(event, lanes=(LANE,))

    def queued(self) -> int:
        return self.spool.counts().get(LANE, (0, 0))[0]

    def dead(self) -> list[str]:
        return [letter.reason for letter in self.spool.dead(LANE)]

    def reason(self) -> str:
        """Why the queue is paused; empty when it isn't."""
        return self.deliverer.status().reason

    def wait_until_empty(self, timeout_s: float = 20.0) -> None:
        wait_until(lambda: not self.queued(), timeout_s, what="an empty queue")


@contextmanager
def publishing(folder: Path, url: str, **settings: Any) -> Iterator[Publishing]:
    """A queue whose events are published while the block runs."""
    made = Publishing(folder, url, **settings)
    made.link.start()
    made.deliverer.start()
    try:
        yield made
    finally:
        made.link.close()
        assert made.deliverer.stop(5.0)
        made.spool.close()
