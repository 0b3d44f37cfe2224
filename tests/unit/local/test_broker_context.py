"""What the broker keeps with an event, and that no subscriber sees it."""

from __future__ import annotations

import pytest

from eaves.errors import EventError
from eaves.events import Event
from eaves.local.broker.context import FIRST_TTL, TTL, attach, build_headers, count_hops, detach, pass_on, read_trace

TRACE = {
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "a=00f067aa0ba902b7",
}
EVENT = Event(id="1", source="/s", type="t", extensions={"traceparent": "the event's own", "a": "b"})


def test_a_subscriber_gets_the_event_as_it_came_and_the_trace_as_headers() -> None:
    kept = attach(EVENT, TRACE)
    assert count_hops(kept) == FIRST_TTL
    assert detach(kept) == EVENT
    assert build_headers(kept) == TRACE
    assert build_headers(attach(EVENT, {})) == {}


def test_a_reply_has_one_hop_less_and_the_trace_of_its_cause() -> None:
    reply = pass_on(attach(EVENT, TRACE), Event(id="2", source="/f", type="r", extensions={TTL: "99"}))
    assert reply is not None
    assert count_hops(reply) == FIRST_TTL - 1
    assert build_headers(reply) == TRACE
    assert pass_on(EVENT.with_extensions(**{TTL: "1"}), EVENT) is None


def test_an_event_without_hops_is_refused() -> None:
    with pytest.raises(EventError, match="has passed through the broker"):
        attach(EVENT.with_extensions(**{TTL: "0"}), {})


@pytest.mark.parametrize(
    "headers",
    [
        {"tracestate": "a=b"},
        {"traceparent": "00-00000000000000000000000000000000-b7ad6b7169203331-01"},
        {"traceparent": "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
        {"traceparent": "none\r\nevil: 1"},
    ],
)
def test_a_trace_that_is_malformed_is_none(headers: dict[str, str]) -> None:
    assert read_trace(headers) == {}


def test_a_trace_is_read_whatever_the_case_of_its_headers() -> None:
    assert read_trace({name.title(): value for name, value in TRACE.items()}) == TRACE
    assert read_trace({**TRACE, "tracestate": "\xff"}) == {"traceparent": TRACE["traceparent"]}
