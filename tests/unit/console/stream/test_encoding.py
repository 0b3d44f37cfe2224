"""The bytes of an event stream."""

from __future__ import annotations

import pytest

from eaves.console.stream.encoding import CROWDED, encode, encode_heartbeat
from eaves.console.stream.feed import StreamMessage


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (StreamMessage(data="<p>one</p>"), b"data: <p>one</p>\n\n"),
        (
            StreamMessage(data="one\ntwo\r\nthree\rfour", id=7),
            b"id: 7\ndata: one\ndata: two\ndata: three\ndata: four\n\n",
        ),
        (StreamMessage(id=9), b"id: 9\n\n"),
        (StreamMessage(event="reload"), b"event: reload\ndata: \n\n"),
        (StreamMessage(event="a\nid: 9", data="x"), b"event: a id: 9\ndata: x\n\n"),
        (StreamMessage(data="id: 1\n\nevent: x"), b"data: id: 1\ndata: \ndata: event: x\n\n"),
        (StreamMessage(data="K\u00fcche \ud800"), "data: K\u00fcche ?\n\n".encode()),
        (StreamMessage(data="one\u2028two\x0bthree"), "data: one\u2028two\x0bthree\n\n".encode()),
    ],
)
def test_no_text_ends_its_message_or_begins_another_field(message: StreamMessage, expected: bytes) -> None:
    assert encode(message) == expected


def test_a_crowded_server_makes_its_clients_ask_again_later() -> None:
    assert CROWDED == b"retry: 5000\nevent: crowded\ndata: \n\n"


def test_a_heartbeat_has_the_position_and_nothing_that_a_page_sees() -> None:
    assert encode_heartbeat(0) == b":\n\n"
    assert encode_heartbeat(12) == b":\nid: 12\n\n"
