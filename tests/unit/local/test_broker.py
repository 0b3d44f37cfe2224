"""What the embedded broker does with the queues of triggers that come and go, and with the trace of an event."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from eaves.delivery import SinkResponse
from eaves.errors import SpoolFullError, UnreachableError
from eaves.events import IMAGE_CAPTURED, Event
from eaves.local.broker import REMOVED, Broker, Subscription, lane_of
from eaves.local.broker.context import read_trace
from eaves.platform import DeliverySettings, TriggerSpec
from eaves.spool import Spool, SpoolLimits
from tests.waiting import wait_until


class Subscriber:
    """Takes events while it is up."""

    def __init__(self) -> None:
        self.up = False
        self.got: list[str] = []

    def __call__(self, event: Event, headers: Mapping[str, str]) -> SinkResponse:
        if not self.up:
            raise UnreachableError("no connection")
        self.got.append(event.id)
        return SinkResponse(status=202)


def image(number: int) -> Event:
    return Event(id=f"id-{number}", source="/eaves/site/camera", type=IMAGE_CAPTURED, data=b"x" * 1000)


def subscription(app: str, send: Subscriber) -> dict[str, Subscription]:
    delivery = DeliverySettings(backoff_s=0.01, backoff_cap_s=0.05)
    trigger = TriggerSpec(name=app, filter={"type": IMAGE_CAPTURED}, function=app, delivery=delivery)
    return {lane_of(app, app): Subscription(app=app, trigger=trigger, send=send, parallel=1)}


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool.db", limits=SpoolLimits(max_entries=3)) as opened:
        yield opened


@pytest.fixture
def broker(spool: Spool) -> Iterator[Broker]:
    made = Broker(spool, lambda event: None)
    try:
        yield made
    finally:
        made.stop()


def test_the_queue_of_a_removed_app_takes_no_room_from_others_and_comes_back_with_it(spool: Spool, broker: Broker):
    gone, other = Subscriber(), Subscriber()
    broker.subscribe(subscription("gone", gone))
    for number in range(3):
        broker.accept(image(number))
    with pytest.raises(SpoolFullError):
        broker.accept(image(3))
    broker.subscribe(subscription("other", other))
    assert spool.counts() == {"trigger/gone/gone": (0, 3)}
    assert {letter.reason for letter in spool.dead()} == {REMOVED}
    for number in range(3, 6):
        broker.accept(image(number))
    gone.up = other.up = True
    wait_until(lambda: sorted(other.got) == ["id-3", "id-4", "id-5"])
    broker.subscribe(subscription("gone", gone))
    wait_until(lambda: sorted(gone.got) == ["id-0", "id-1", "id-2"])
    wait_until(lambda: spool.counts() == {})


def test_the_queue_of_an_app_whose_spec_cannot_be_read_is_left_as_it_is(spool: Spool, broker: Broker):
    broker.subscribe(subscription("torn", Subscriber()))
    broker.accept(image(0))
    broker.subscribe({}, keep={"torn"})
    assert spool.counts() == {"trigger/torn/torn": (1, 0)}


def test_an_event_that_no_trigger_wants_is_logged_unless_it_is_about_another(
    broker: Broker, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    broker.accept(image(1))
    broker.accept(image(2).with_extensions(causeid="1", causesource="/eaves/test/x"))
    assert [record.getMessage().partition(" of type")[0] for record in caplog.records] == ["no trigger matches events"]


TRACE = {
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "a=00f067aa0ba902b7",
}


@pytest.mark.parametrize(
    "headers",
    [
        {"tracestate": "a=b"},
        {"traceparent": "00-00000000000000000000000000000000-b7ad6b7169203331-01"},
        {"traceparent": "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
        {"traceparent": "none\r\nevil: 1"},
    ],
)
def test_a_trace_that_is_malformed_is_none(headers: dict[str, str]):
    assert read_trace(headers) == {}


def test_a_trace_is_read_whatever_the_case_of_its_headers():
    assert read_trace({name.title(): value for name, value in TRACE.items()}) == TRACE
    assert read_trace({**TRACE, "tracestate": "\xff"}) == {"traceparent": TRACE["traceparent"]}
