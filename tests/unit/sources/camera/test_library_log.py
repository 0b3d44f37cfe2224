"""Which redirects of RTSP may keep the password."""

from __future__ import annotations

import pytest

pytest.importorskip("av", reason="PyAV is not installed (python -m pip install av)")

from eaves.sources.camera.decoder.opening import is_same_server


@pytest.mark.parametrize(
    ("url", "other", "same"),
    [
        ("rtsp://u:p@cam/a", "rtsp://cam/b", True),
        ("rtsp://u:p@cam/a", "rtsp://CAM:554/b", True),
        ("rtsps://u:p@cam/a", "rtsps://cam:322/b", True),
        ("rtsps://u:p@cam/a", "rtsp://cam:322/b", False),
        ("rtsp://u:p@cam/a", "rtsp://cam:555/b", False),
        ("rtsp://u:p@cam/a", "rtsp://cam.example/b", False),
        ("rtsp://u:p@cam/a", "/b", False),
        ("rtsp://u:p@cam/a", "rtsp://[::1/b", False),
        ("rtsp://u:p@cam/a", "rtsp://cam:port/b", False),
        ("rtsp://u:p@[::1]:8554/a", "rtsp://[::1]:8554/b", True),
    ],
)
def test_same_server(url: str, other: str, *, same: bool) -> None:
    assert is_same_server(url, other) == same
