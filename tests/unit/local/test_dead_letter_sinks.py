"""Dead letters of the embedded broker on their way to a sink: what it gets, and what stays while it doesn't."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from eaves.delivery import SinkResponse
from eaves.errors import UnreachableError
from eaves.events import IMAGE_CAPTURED, Event
from eaves.local.broker import SINK, Broker, DeadLetterSink, Subscription, lane_of
from eaves.platform import DeliverySettings, TriggerSpec
from eaves.problem_document import build_problem
from eaves.spool import Spool, SpoolLimits
from tests.waiting import wait_until

LANE, SINK_LANE = lane_of("app", "app"), lane_of("app", "app", SINK)
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


@pytest.mark.parametrize(("sinks", "room"), [(1, 3), (2, 2)])
def test_dead_letters_wait_for_their_sinks_in_half_of_the_queue_and_are_kept_beyond_it(
    spool: Spool, sinks: int, room: int, caplog: pytest.LogCaptureFixture
):
    """The spool has room for five images that wait, and eight are refused while the sink is down."""
    sink = Receiver(away)
    subscriptions = subscription(Receiver(lambda _: REFUSED), sink)
    if sinks == 2:
        subscriptions[lane_of("b", "app")] = replace(
            subscriptions[LANE], app="b", trigger=TriggerSpec(name="app", filter={"type": "other"})
        )
    with running(spool, subscriptions) as broker:
        for number in range(8):
            wait_until(lambda: spool.counts().get(LANE, (0, 0))[0] == 0)
            broker.accept(image(number))
        wait_until(lambda: spool.counts().get(LANE, (1, 0))[0] == 0)
        wait_until(lambda: any(one.lane == SINK_LANE and one.paused for one in broker.deliveries()))
        (_, kept), (waiting, _) = spool.counts()[LANE], spool.counts()[SINK_LANE]
        assert (waiting, kept, caplog.text.count("is full: dead letter")) == (room, 8 - room, 8 - room)
        sink.decide = lambda _: SinkResponse(status=202)
        broker.try_now(SINK_LANE)
        wait_until(lambda: spool.counts() == {LANE: (0, kept)})
    assert {event.id for event in sink.got} == {f"id-{number}" for number in range(waiting)}


def test_a_sink_that_is_up_gets_dead_letters_while_other_events_fill_half_of_the_queue(spool: Spool):
    sink = Receiver()
    with running(spool, subscription(Receiver(lambda _: REFUSED), sink)) as broker:
        for number in range(4):
            spool.put(image(number), lanes=("other",))
        broker.accept(image(4))
        wait_until(lambda: sink.got or spool.dead())
    assert [event.id for event in sink.got] == ["id-4"]


def test_a_dead_letter_that_its_sink_refuses_stays_a_dead_letter(spool: Spool):
    sink = Receiver(lambda _: SinkResponse(status=413, body=build_problem(413, "too large")))
    with running(spool, subscription(Receiver(lambda _: REFUSED), sink)) as broker:
        broker.accept(image(1))
        wait_until(lambda: sink.got)
        wait_until(lambda: spool.counts() == {SINK_LANE: (0, 1)})
    (letter,) = spool.dead()
    assert letter.reason.startswith("answered 413")
    assert letter.entry.event.extensions["knativeerrorcode"] == "422"


def test_a_dead_letter_whose_sink_is_removed_is_kept_until_the_sink_is_back(spool: Spool):
    sink = Receiver(away)
    wanted = subscription(Receiver(lambda _: REFUSED), sink)
    with running(spool, wanted) as broker:
        broker.accept(image(1))
        wait_until(lambda: spool.counts() == {SINK_LANE: (1, 0)})
        broker.subscribe({LANE: replace(wanted[LANE], sink=None)})
        assert spool.counts() == {SINK_LANE: (0, 1)}
        sink.decide = lambda _: SinkResponse(status=202)
        broker.subscribe(wanted)
        wait_until(lambda: spool.counts() == {})
    assert sink.got[-1].extensions["knativeerrorcode"] == "422"


def test_a_dead_letter_waits_while_a_proxy_before_its_sink_refuses_it(spool: Spool):
    sink = Receiver(lambda _: SinkResponse(status=413, body=b"<html>413 Request Entity Too Large</html>"))
    with running(spool, subscription(Receiver(lambda _: REFUSED), sink)) as broker:
        broker.accept(image(1))
        wait_until(lambda: len(sink.got) > 2, 20)
        assert spool.counts() == {SINK_LANE: (1, 0)}
        sink.decide = lambda _: SinkResponse(status=202)
        broker.try_now(SINK_LANE)
        wait_until(lambda: spool.counts() == {})
