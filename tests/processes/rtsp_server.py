"""A real RTSP server, GStreamer's, on loopback: with users, TLS, several streams; stopped, started again, made deaf."""

from __future__ import annotations

import functools
import json
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGKILL, Signals

import pytest

from tests.inputs.certificates import Certificate
from tests.inputs.videos import Video
from tests.ports import find_port
from tests.waiting import wait_until

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


class RtspServer:
    """One server. It is the caller's to start and to end.

    Args:
        folder: For its configuration, its log and its videos.
        mounts: Video by path.
        user: Name of its only user; empty lets everybody in.
        password: That user's password.
        method: How it asks for the password: `basic` or `digest`.
        certificate: Its certificate, for `rtsps`; None for no TLS.

    Attributes:
        port: Its TCP port, the same after each start.
        log: Its log file.
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
        folder.mkdir(parents=True, exist_ok=True)
        self.port = find_port()
        self.log = folder / "rtsp_server.log"
        self._scheme = "rtsps" if certificate else "rtsp"
        self._config = folder / "rtsp_server.json"
        self._process: subprocess.Popen[bytes] | None = None
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

    @property
    def pid(self) -> int:
        """Id of the server's process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([PYTHON, str(SCRIPT), str(self._config)], stdout=log, stderr=log)
        wait_until(self._listens, what="the RTSP server")

    def stop(self) -> None:
        """End it at once; a stopped one too."""
        if self._process is not None:
            self._process.send_signal(SIGKILL)
            self._process.wait(10)
            self._process = None

    def signal(self, number: Signals) -> None:
        """Send it a signal: SIGSTOP makes it deaf while its port still answers."""
        assert self._process is not None
        self._process.send_signal(number)

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


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
