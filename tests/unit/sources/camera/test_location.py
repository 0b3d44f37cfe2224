"""What a stream's address names, and whether it is there."""

from __future__ import annotations

import os
from pathlib import Path

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


@pytest.mark.disk  # below /dev, where tests have files in memory, a file is a device
def test_a_path_is_a_device_or_a_file(tmp_path: Path) -> None:
    assert parse_location("/dev/video0").find_missing() in ("", "there is no device /dev/video0")
    assert not parse_location("/dev/video0").is_file
    assert parse_location("/dev/null").find_missing() == ""
    clip = tmp_path / "clip.mp4"
    location = parse_location(str(clip))
    assert location.is_file
    assert location.find_missing() == f"there is no file {clip}"
    assert location.file_identity() is None
    clip.write_bytes(b"12")
    os.utime(clip, ns=(5, 5))
    assert location.find_missing() == ""
    assert location.file_identity() == (5, 2)
    assert parse_location(f"{clip}/x").find_missing() == f"there is no file {clip}/x"


def test_a_subject_is_no_part_of_an_address_as_its_path_may_hold_a_password() -> None:
    assert build_subject("rtsp://cam/user=admin_password=SECRET_channel=1") == ""
    assert build_subject("rtmp://host/live/SECRET") == ""
    assert build_subject("/dev/video0") == "video0"
    assert build_subject("clips/a.mp4") == "a.mp4"
