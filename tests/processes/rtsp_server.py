"""A real RTSP server, GStreamer's, on loopback: with users, TLS, several streams; stopped, started again, made deaf."""

import functools
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.inputs.certificates import Certificate
from tests.inputs.videos import Video
from tests.processes.server import ServerProcess

PYTHON = "/usr/bin/python3"
"""Debian's Python, for which its packages install GStreamer's bindings."""
SCRIPT = Path(__file__).with_name("gst_rtsp_server.py")
PACKAGES = (
    "gir1.2-gst-rtsp-server-1.0",
    "python3-gi",
    "gstreamer1.0-plugins-good",
    "gstreamer1.0-plugins-bad",
    "glib-networking",
)
CHECK = (
    "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer; "
    "Gst.init(None); "
    "raise SystemExit(any(Gst.ElementFactory.find(name) is None for name in ('appsrc', 'rtph264pay', 'h264parse')))"
)


class RtspServer(ServerProcess):
    """One server. It is the caller's to start and to end.

    Args:
        folder: For its configuration, its log and its videos.
        mounts: Video by path.
        user: Name of its only user; empty lets everybody in.
        password: That user's password.
        method: How it asks for the password: `basic` or `digest`.
        certificate: Its certificate, for `rtsps`; None for no TLS.
    """

    def __init__(
        self,
        folder: Path,
        mounts: Mapping[str, Video],
        *,
        user: str = "",
        password: str = "",
        method: str = "digest",
        certificate: Certificate | None = None,
    ) -> None:
        super().__init__(folder / "rtsp_server.log")
        self._scheme = "rtsps" if certificate else "rtsp"
        self._config = folder / "rtsp_server.json"
        videos = {path: _write(folder / f"video{index}.json", mounts[path]) for index, path in enumerate(mounts)}
        config = {
            "port": self.port,
            "mounts": videos,
            "user": user,
            "password": password,
            "method": method,
            "certificate": [str(path) for path in certificate or ()],
        }
        self._config.write_text(json.dumps(config))

    def url(self, path: str = "/stream", *, login: str = "") -> str:
        """Address of a mount; `login` is `USER:PASSWORD`."""
        return f"{self._scheme}://{f'{login}@' if login else ''}127.0.0.1:{self.port}{path}"

    def start(self) -> None:
        self.launch([PYTHON, str(SCRIPT), str(self._config)])


@contextmanager
def run_rtsp_server(
    folder: Path,
    mounts: Mapping[str, Video],
    *,
    user: str = "",
    password: str = "",
    method: str = "digest",
    certificate: Certificate | None = None,
) -> Iterator[RtspServer]:
    """A server that runs in the block; the test is skipped where GStreamer isn't installed, except in CI."""
    need_gstreamer()
    server = RtspServer(folder, mounts, user=user, password=password, method=method, certificate=certificate)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def need_gstreamer() -> None:
    """Skip a test where GStreamer's RTSP server isn't installed; in CI it must be."""
    if not _has_gstreamer() and not os.environ.get("CI"):
        pytest.skip(f"GStreamer's RTSP server is not installed (Debian: apt install {' '.join(PACKAGES)})")


@functools.cache
def _has_gstreamer() -> bool:
    try:
        return subprocess.run([PYTHON, "-c", CHECK], capture_output=True, timeout=60, check=False).returncode == 0
    except OSError:
        return False


def write_video(video: Video) -> tuple[str, bytes]:
    """The two files that the script reads of a video: NAME.json and NAME.bin."""
    lengths = [len(packet.data) for packet in video.packets]
    shown = {"codec": video.codec, "width": video.width, "height": video.height, "rate": video.rate}
    return json.dumps({**shown, "lengths": lengths}), b"".join(packet.data for packet in video.packets)


def _write(path: Path, video: Video) -> str:
    described, content = write_video(video)
    path.write_text(described)
    path.with_suffix(".bin").write_bytes(content)
    return str(path)
