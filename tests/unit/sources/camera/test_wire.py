"""Messages between the camera source and its decoder: what is written is read, and everything else is refused."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eaves.sources.camera.wire import (
    HEADER,
    MAX_JSON_BYTES,
    Alive,
    DroppedFrames,
    Ended,
    Failed,
    Message,
    Opened,
    StreamFrame,
    StreamRequest,
    WireError,
    build_message,
    build_request,
    parse_request,
    read_message,
)

MESSAGES: list[Message] = [
    Opened(codec="h264", width=1920, height=1080, rate=25.0, decoding="all", key_interval_s=4.0),
    StreamFrame(data=b"\xff\xd8 image \xff\xd9", number=7, captured_at_ns=1_700_000_000_000_000_000, arrived_ns=5),
    StreamFrame(data=b"", number=2**64 - 1, captured_at_ns=0, arrived_ns=-5),
    Alive(arrived_ns=12),
    DroppedFrames(cause="late", count=3),
    DroppedFrames(cause="unreadable", count=1, reason="the JPEG image is incomplete"),
    Failed(code="refused_login", message="the camera refused the user name or password"),
    Ended(frames=9),
]


def _frame(kind: bytes, body: bytes, length: int | None = None) -> bytes:
    return HEADER.pack(kind, len(body) if length is None else length, 0, 0, 0) + body


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_is_read_as_it_was_written(message: Message) -> None:
    stream = io.BytesIO(build_message(message) + build_message(Alive(arrived_ns=1)))
    assert read_message(stream, 1000) == message
    assert read_message(stream, 1000) == Alive(arrived_ns=1)
    assert read_message(stream, 1000) is None


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_that_ends_too_early_is_refused(message: Message) -> None:
    whole = build_message(message)
    for length in range(1, len(whole)):
        with pytest.raises(WireError):
            read_message(io.BytesIO(whole[:length]), 1000)


def test_a_pipe_that_gives_single_bytes() -> None:
    class Drops(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(1, size or 0))

    assert read_message(Drops(build_message(MESSAGES[1])), 1000) == MESSAGES[1]


def test_a_length_beyond_the_limit_is_refused_before_the_body_is_read() -> None:
    for data in (_frame(b"F", b"", 1001), _frame(b"O", b"", MAX_JSON_BYTES + 1), _frame(b"F", b"", 2**32 - 1)):
        stream = io.BytesIO(data + bytes(2000))
        with pytest.raises(WireError, match=r"has \d+ bytes"):
            read_message(stream, 1000)
        assert stream.tell() == HEADER.size


@pytest.mark.parametrize(
    "values",
    [
        [],
        "text",
        {},
        {"frames": "9"},
        {"frames": -1},
        {"frames": 1.5},
        {"frames": True},
        {"frames": 1, "more": 2},
    ],
)
def test_wrong_values_are_refused(values: object) -> None:
    with pytest.raises(WireError):
        read_message(io.BytesIO(_frame(b"E", json.dumps(values).encode())), 1000)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"X", b'{"code": "reboot", "message": ""}'),
        (b"X", b'{"code": "broken", "message": null}'),
        (b"O", b'{"codec": "h264", "width": 1, "height": 1, "decoding": "most"}'),
        (b"O", b'{"codec": "h264", "width": 1, "height": 1, "rate": NaN}'),
        (b"O", b'{"codec": "h264", "width": 1, "height": 1, "rate": Infinity}'),
        (b"D", b'{"cause": {}, "count": 1}'),
        (b"E", b"\xff\xfe"),
        (b"E", b"[" * 30_000),
        (b"Q", b""),
        (b"\xff", b"{}"),
    ],
)
def test_what_is_no_message_is_refused(kind: bytes, body: bytes) -> None:
    with pytest.raises(WireError):
        read_message(io.BytesIO(_frame(kind, body)), 1000)


def test_a_capture_before_1970_is_refused() -> None:
    with pytest.raises(WireError):
        read_message(io.BytesIO(HEADER.pack(b"F", 0, -1, 0, 0)), 1000)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    stream = io.BytesIO(data)
    try:
        while read_message(stream, 1000) is not None:
            pass
    except WireError:
        pass


def test_a_request_is_one_line_and_read_as_it_was_written() -> None:
    request = StreamRequest(url="rtsp://user:p\nw@camera/stream", every_s=0.5, authorities="/ca.crt", paced=False)
    line = build_request(request)
    assert line.count(b"\n") == 1
    assert parse_request(line) == request
