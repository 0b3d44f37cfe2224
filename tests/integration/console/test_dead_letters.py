"""Dead letters of a real broker, asked over its socket: retried by a form and really delivered."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from eaves.admin.client import SocketQueue
from eaves.admin.queue import SpoolQueue
from eaves.admin.server import AdminServer, answer_queue
from eaves.delivery import SinkResponse
from eaves.events import IMAGE_CAPTURED, Event
from eaves.history import FileHistory, HistoryReader
from eaves.local.broker import Broker, Subscription, lane_of
from eaves.platform import DeliverySettings, TriggerSpec
from eaves.spool import Spool
from tests.fakes.console.backend import FakeBackend
from tests.fakes.console.browser import Browser, open_console, text_of
from tests.fakes.console.material import captured_event, classified_event
from tests.waiting import wait_until

APP = "flowers"
LANE = lane_of(APP, APP)
PROBLEM = b'{"type": "urn:eaves:problem:image", "detail": "the image is corrupt"}'


@dataclass
class Function:
    """Answers images with predictions, or refuses them."""

    refuses: bool = True
    got: list[str] = field(default_factory=list)

    def __call__(self, event: Event, headers: Mapping[str, str]) -> SinkResponse:
        if self.refuses:
            return SinkResponse(status=422, body=PROBLEM)
        self.got.append(event.id)
        return SinkResponse(status=200, event=classified_event(event, function=APP))


@dataclass(frozen=True, kw_only=True)
class Site:
    """A broker with one function, and a console that sees the broker's queue over its socket."""

    broker: Broker
    spool: Spool
    function: Function
    browser: Browser

    def send(self, *events: Event) -> None:
        for event in events:
            self.broker.accept(event)

    def counts(self) -> tuple[int, int]:
        return self.spool.counts().get(LANE, (0, 0))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    history = FileHistory(tmp_path / "history.db")
    reader = HistoryReader(tmp_path / "history.db")
    with Spool(tmp_path / "spool.db") as spool:
        function, broker = Function(), Broker(spool, history.add)
        delivery = DeliverySettings(retry=3, backoff_s=0.01, backoff_cap_s=0.05)
        trigger = TriggerSpec(name=APP, filter={"type": IMAGE_CAPTURED}, function=APP, delivery=delivery)
        broker.subscribe({LANE: Subscription(app=APP, trigger=trigger, send=function, parallel=1)})
        queue = SpoolQueue(spool, deliveries=broker.deliveries, try_now=broker.try_now)
        server = AdminServer(lambda _, __, query: answer_queue(queue, query), path=tmp_path / "s" / "socket")
        backend = FakeBackend(named_queues={"broker": SocketQueue(tmp_path / "s" / "socket")})
        backend.records = reader  # type: ignore[assignment]
        yield Site(broker=broker, spool=spool, function=function, browser=open_console(backend))
        server.stop()
        broker.stop()
    history.close()


def test_a_dead_letter_is_retried_and_really_delivered(site: Site) -> None:
    event = captured_event(1)
    site.send(event)
    wait_until(lambda: site.counts() == (0, 1))
    page = site.browser.open("/dead-letters/broker/").text
    assert "the image is corrupt" in text_of(page)
    (path,) = re.findall(r'action="([^"]+/\d+/retry)"', page)
    again = site.browser.submit(path).location
    wait_until(lambda: "dead letter refused" in text_of(site.browser.open(again).text))
    assert site.function.got == []
    site.function.refuses = False
    again = site.browser.submit(path).location
    wait_until(lambda: "it was delivered or deleted" in text_of(site.browser.open(again).text))
    assert site.function.got == [event.id]
    assert site.counts() == (0, 0)
