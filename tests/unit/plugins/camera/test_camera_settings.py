"""Settings of a camera: what is wrong with an address, without a password in the message."""

from __future__ import annotations

import pytest

from eaves.plugins.camera.kind import CameraSettings
from eaves.reachability import lacks_scheme


def find_fault(url: str) -> str:
    return "".join(message for path, message in CameraSettings(url=url).faults() if path == "url")


@pytest.mark.parametrize(
    "url",
    ["192.168.1.20", "cam.local:554/a", "u:secret@192.168.1.20/a"],
)
def test_an_address_without_a_scheme_is_not_taken_for_a_file(url: str) -> None:
    fault = find_fault(url)
    assert fault.startswith("must begin with the protocol, such as rtsp://")
    assert "secret" not in fault


@pytest.mark.parametrize("url", ["./192.168.1.20", "clip.mp4", "day/12:30.mp4"])
def test_the_path_of_a_file_has_no_scheme(url: str) -> None:
    assert not lacks_scheme(url)


@pytest.mark.parametrize("password", ["se/cret", "se#cret", "se?cret"])
def test_a_password_that_breaks_an_address_is_named_as_the_cause(password: str) -> None:
    fault = find_fault(f"rtsp://viewer:{password}@192.168.1.20:554/stream1")
    assert "`password` of the folder `credentials`" in fault
    assert "cret" not in fault.replace("credentials", "")


def test_a_password_in_the_path_is_to_be_a_placeholder() -> None:
    for url in ("rtsp://h/user=a_password={}_channel=1.sdp?x", "rtsp://h:554/user=a&password={}&channel=1?x=1"):
        fault = find_fault(url.format("geheim"))
        assert "{password}" in fault
        assert "geheim" not in fault
        assert find_fault(url.format("{password}")) == ""
    assert find_fault("rtsp://h/cam/realmonitor?channel=1&subtype=0") == ""
    assert find_fault("clips/password=1.mp4") == ""


@pytest.mark.parametrize("url", ["rtsp://", "ftp://camera.example/a"])
def test_an_address_that_names_no_stream(url: str) -> None:
    assert find_fault(url).startswith("must be an address such as rtsp://camera.example/stream1")
    assert "password" not in find_fault(url)


def test_a_playlist_is_refused_with_what_to_use_instead() -> None:
    assert "use the camera's RTSP or MJPEG address" in find_fault("https://viewer:secret@camera.example/LIVE.m3u8?a=1")
    assert "secret" not in find_fault("https://viewer:secret@camera.example/live.m3u8")
