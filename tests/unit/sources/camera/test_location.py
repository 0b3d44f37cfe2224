"""What a stream's address names, and whether it is there."""

from __future__ import annotations

import pytest

from eaves.sources.camera.address import build_subject, parse_location


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("rtsp://cam/1", "cam", 554),
        ("rtsps://cam:8322/1", "cam", 8322),
        ("rtmp://u:p@cam/live", "cam", 1935),
        ("http://cam/a", "cam", 80),
        ("https://[fe80::1]/a", "fe80::1", 443),
        ("rtsp://CAM.example", "cam.example", 554),
    ],
)
def test_a_stream_of_the_network_has_host_and_port(url: str, host: str, port: int) -> None:
    location = parse_location(url)
    assert (location.path, location.host, location.port) == (None, host, port)
    assert not location.is_file
    assert location.find_missing() == ""


def test_a_subject_is_no_part_of_an_address_as_its_path_may_hold_a_password() -> None:
    assert build_subject("rtsp://cam/user=admin_password=SECRET_channel=1") == ""
    assert build_subject("rtmp://host/live/SECRET") == ""
    assert build_subject("/dev/video0") == "video0"
    assert build_subject("clips/a.mp4") == "a.mp4"
