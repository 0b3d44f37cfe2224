"""Settings of a camera's address, and messages between the source and its decoder."""

import io

import pytest

from eaves.plugins.camera.kind import CameraSettings
from eaves.plugins.camera.messages import (
    HEADER,
    MAX_JSON_BYTES,
    StreamFrame,
    WireError,
    build_message,
    read_message,
)


def _pack(body: bytes, data: bytes = b"") -> bytes:
    return HEADER.pack(len(body), len(data)) + body + data


def test_a_message_that_ends_too_early_is_refused():
    whole = build_message(StreamFrame(data=b"\xff\xd8 image \xff\xd9", number=7, captured_at_ns=1))
    for length in range(1, len(whole)):
        with pytest.raises(WireError):
            read_message(io.BytesIO(whole[:length]), 1000)


def test_a_length_beyond_the_limit_is_refused_before_the_body_is_read():
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
def test_what_is_no_message_is_refused(body: bytes):
    with pytest.raises(WireError):
        read_message(io.BytesIO(_pack(body)), 1000)


def find_fault(url: str) -> str:
    return "".join(message for path, message in CameraSettings(url=url).faults() if path == "url")


@pytest.mark.parametrize(
    "url",
    ["192.168.1.20", "cam.local:554/a", "u:secret@192.168.1.20/a"],
)
def test_an_address_without_a_scheme_is_not_taken_for_a_file(url: str):
    fault = find_fault(url)
    assert fault.startswith("must begin with the protocol, such as rtsp://")
    assert "secret" not in fault


@pytest.mark.parametrize("password", ["se/cret", "se#cret", "se?cret"])
def test_a_password_that_breaks_an_address_is_named_as_the_cause(password: str):
    fault = find_fault(f"rtsp://viewer:{password}@192.168.1.20:554/stream1")
    assert "`password` of the folder `credentials`" in fault
    assert "cret" not in fault.replace("credentials", "")


def test_a_password_in_the_path_is_to_be_a_placeholder():
    for url in ("rtsp://h/user=a_password={}_channel=1.sdp?x", "rtsp://h:554/user=a&password={}&channel=1?x=1"):
        fault = find_fault(url.format("geheim"))
        assert "{password}" in fault
        assert "geheim" not in fault
        assert find_fault(url.format("{password}")) == ""
    assert find_fault("rtsp://h/cam/realmonitor?channel=1&subtype=0") == ""
    assert find_fault("clips/password=1.mp4") == ""


@pytest.mark.parametrize("url", ["rtsp://", "ftp://camera.example/a"])
def test_an_address_that_names_no_stream(url: str):
    assert find_fault(url).startswith("must be an address such as rtsp://camera.example/stream1")
    assert "password" not in find_fault(url)


def test_a_playlist_is_refused_with_what_to_use_instead():
    assert "use the camera's RTSP or MJPEG address" in find_fault("https://viewer:secret@camera.example/LIVE.m3u8?a=1")
    assert "secret" not in find_fault("https://viewer:secret@camera.example/live.m3u8")
