"""Dead letters of the embedded broker on their way to a sink: what it gets, and what stays while it doesn't."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from eaves.delivery import SinkResponse
from eaves.errors import DeliveryError, UnreachableError
from eaves.events import IMAGE_CAPTURED, Event
from eaves.local.broker import Broker, DeadLetterSink, Subscription, lane_of, lane_of_sink
from eaves.platform import DeliverySettings, TriggerSpec
from eaves.problem_document import build_problem
from eaves.spool import Selection, Spool, SpoolLimits
from eaves.spool.admin import drop, redrive
from tests.waiting import wait_until

LANE, SINK_LANE = lane_of("app", "app"), lane_of_sink("app", "app")
REFUSED = SinkResponse(status=422, body=b'{"detail": "not an image"}')


@dataclass
class Receiver:
    """Gets events, and answers as `decide` says."""

    decide: Callable[[Event], SinkResponse] = lambda _: SinkResponse(status=202)
    got: list[Event] = field(default_factory=list)

    def __call__(self, event: Event, headers: Mapping[str, str]) -> SinkResponse:
        answer = self.decide(event)
        self.got.append(event)
        return answer


def away(_: Event) -> SinkResponse:
    raise UnreachableError("no connection")


def image(number: int) -> Event:
    return Event(id=f"id-{number}", source="/s/camera", type=IMAGE_CAPTURED, data=b"x" * 1000)


def subscription(subscriber: Receiver, sink: Receiver) -> dict[str, Subscription]:
    quick = DeliverySettings(retry=1, backoff_s=0.01, backoff_cap_s=0.05)
    trigger = TriggerSpec(name="app", filter={"type": IMAGE_CAPTURED}, function="app", delivery=quick)
    target = TriggerSpec(name="app", url="http://dead.test/")
    address = "http://127.0.0.1:8480/functions/app"
    given = DeadLetterSink(target=target, send=sink, give_address=lambda: address)
    return {LANE: Subscription(app="app", trigger=trigger, send=subscriber, parallel=1, sink=given)}


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool.db", limits=SpoolLimits(max_bytes=6_000, dead_max_bytes=20_000)) as opened:
        yield opened


@contextmanager
def running(spool: Spool, subscriptions: Mapping[str, Subscription]) -> Iterator[Broker]:
    broker = Broker(spool, lambda event: None)
    try:
        broker.subscribe(subscriptions)
        yield broker
    finally:
        broker.stop()


def broken(_: Event) -> SinkResponse:
    raise DeliveryError("no answer within 60 s")


@pytest.mark.parametrize(
    ("answer", "code", "data"),
    [
        (lambda _: SinkResponse(status=500, body=b"z" * 5000), "500", b"z" * 768),
        (broken, "500", b"dispatch error: no answer within 60 s"),
    ],
)
def test_the_answer_is_reported_in_at_most_1024_characters_of_base64(
    spool: Spool, answer: Callable[[Event], SinkResponse], code: str, data: bytes
) -> None:
    sink = Receiver()
    with running(spool, subscription(Receiver(answer), sink)) as broker:
        broker.accept(image(1))
        wait_until(lambda: sink.got)
    reported = sink.got[0].extensions
    assert reported["knativeerrorcode"] == code
    assert len(reported.get("knativeerrordata", "")) <= 1024
    assert reported.get("knativeerrordata") == base64.b64encode(data).decode()


def test_a_dead_letter_is_kept_while_its_sink_is_down_and_takes_no_room_of_good_images(spool: Spool) -> None:
    """The spool has room for five images that wait, and eight dead ones are to wait for their sink."""
    sink = Receiver(away)
    subscriptions = subscription(Receiver(lambda _: REFUSED), sink)
    with running(spool, subscriptions) as broker:
        for number in range(8):
            wait_until(lambda: spool.counts().get(LANE, (0, 0))[0] == 0)
            broker.accept(image(number))
        wait_until(lambda: spool.counts().get(LANE) == (0, 8))
        wait_until(lambda: any(one.lane == SINK_LANE and one.paused for one in broker.deliveries()))
        assert sum(letter.entry.lane == LANE for letter in spool.dead()) == 8
        sink.decide = lambda _: SinkResponse(status=202)
        broker.try_now(SINK_LANE)
        wait_until(lambda: spool.counts() == {})
    assert {event.id for event in sink.got} == {f"id-{number}" for number in range(8)}


def test_a_dead_letter_that_its_sink_refuses_stays_a_dead_letter(spool: Spool) -> None:
    sink = Receiver(lambda _: SinkResponse(status=413, body=build_problem(413, "too large")))
    with running(spool, subscription(Receiver(lambda _: REFUSED), sink)) as broker:
        broker.accept(image(1))
        wait_until(lambda: sink.got)
        wait_until(lambda: spool.counts() == {LANE: (0, 1)})
    assert spool.dead()[0].reason.startswith("answered 422")


def test_a_dead_letter_waits_while_a_proxy_before_its_sink_refuses_it(spool: Spool) -> None:
    sink = Receiver(lambda _: SinkResponse(status=413, body=b"<html>413 Request Entity Too Large</html>"))
    with running(spool, subscription(Receiver(lambda _: REFUSED), sink)) as broker:
        broker.accept(image(1))
        wait_until(lambda: len(sink.got) > 2, 20)
        assert spool.counts() == {LANE: (0, 1), SINK_LANE: (1, 0)}
        sink.decide = lambda _: SinkResponse(status=202)
        broker.try_now(SINK_LANE)
        wait_until(lambda: spool.counts() == {})


@pytest.mark.parametrize("act", [redrive, drop])
def test_a_dead_letter_that_somebody_dropped_or_queued_again_is_not_sent(
    spool: Spool, act: Callable[[Spool, Selection], int]
) -> None:
    subscriber, sink = Receiver(lambda _: REFUSED), Receiver(away)
    with running(spool, subscription(subscriber, sink)) as broker:
        broker.accept(image(1))
        wait_until(lambda: spool.counts() == {LANE: (0, 1), SINK_LANE: (1, 0)})
        subscriber.decide = lambda _: SinkResponse(status=202)
        act(spool, Selection(lane=LANE, state="dead"))
        wait_until(lambda: LANE not in spool.counts())
        sink.decide = lambda _: SinkResponse(status=202)
        broker.try_now("")
        wait_until(lambda: spool.counts() == {})
    assert sink.got == []
