"""Messages between the camera source and its decoder: what is written is read, and everything else is refused."""

from __future__ import annotations

import io

import pytest

from eaves.plugins.camera.messages import (
    HEADER,
    MAX_JSON_BYTES,
    Alive,
    DroppedFrames,
    Ended,
    Message,
    Opened,
    StreamFrame,
    WireError,
    build_message,
    read_message,
)

MESSAGES: list[Message] = [
    Opened(codec="h264", width=1920, height=1080, rate=25.0, decoding="all"),
    StreamFrame(data=b"\xff\xd8 image \xff\xd9", number=7, captured_at_ns=1_700_000_000_000_000_000),
    StreamFrame(data=b"", number=2**63 - 1, captured_at_ns=0),
    Alive(),
    DroppedFrames(cause="late", count=3),
    DroppedFrames(cause="unreadable", count=1, reason="the JPEG image is incomplete"),
    Ended(code="refused_login", message="the camera refused the user name or password"),
]


def _pack(body: bytes, data: bytes = b"") -> bytes:
    return HEADER.pack(len(body), len(data)) + body + data


def test_a_message_that_ends_too_early_is_refused() -> None:
    whole = build_message(MESSAGES[1])
    for length in range(1, len(whole)):
        with pytest.raises(WireError):
            read_message(io.BytesIO(whole[:length]), 1000)


def test_a_length_beyond_the_limit_is_refused_before_the_body_is_read() -> None:
    for lengths in ((100, 1001), (MAX_JSON_BYTES + 1, 0), (2**32 - 1, 2**32 - 1)):
        stream = io.BytesIO(HEADER.pack(*lengths) + bytes(2000))
        with pytest.raises(WireError, match=r"has \d+ bytes"):
            read_message(stream, 1000)
        assert stream.tell() == HEADER.size


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'{"kind": "Reboot"}',
        b'{"kind": "Ended"}',
        b'{"kind": "Ended", "code": "broken", "more": 2}',
        b'{"kind": "Ended", "code": "reboot", "message": ""}',
        b'{"kind": "Opened", "codec": "h264", "width": 1, "height": 1, "rate": Infinity}',
        b'{"kind": "Opened", "codec": "h264", "width": 1, "height": 1, "rate": 1%s}' % (b"0" * 400),
        b'{"kind": "DroppedFrames", "cause": {}, "count": 1}',
        b'{"kind": "StreamFrame", "data": "x", "number": 1, "captured_at_ns": -1}',
        b"\xff\xfe",
        b"[" * 30_000,
    ],
)
def test_what_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(WireError):
        read_message(io.BytesIO(_pack(body)), 1000)
