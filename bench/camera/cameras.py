"""Real RTSP servers that stand for cameras, each of which can be stopped, started again and made silent."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.camera.video import Video
from bench.report.section import UnavailableError
from tests.ports import find_port

PYTHON = "/usr/bin/python3"
"""Debian's Python, which has GStreamer's bindings."""
SCRIPT = Path(__file__).with_name("server.py")


class CameraServer:
    """One RTSP server with some cameras.

    Args:
        video: Stream that all cameras send.
        names: Names of the cameras, which are the paths of their streams.
    """

    def __init__(self, video: Video, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.port = find_port()
        self.sent: list[tuple[str, int, float]] = []
        """Key frames that were sent: the camera's name, the frame's number, and the monotonic time."""
        self._command = [PYTHON, str(SCRIPT), str(self.port), str(video.path), *names]
        self._process: subprocess.Popen[str] | None = None

    def url(self, name: str) -> str:
        """Return the address of a camera's stream."""
        return f"rtsp://127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        """Start the server, and wait until it listens.

        Raises:
            UnavailableError: When GStreamer's RTSP server or its bindings are not installed.
        """
        with tempfile.TemporaryFile("w+") as errors:
            self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=errors, text=True)
            assert self._process.stdout is not None
            if self._process.stdout.readline() != "ready\n":
                self._process.wait()
                errors.seek(0)
                raise UnavailableError(f"the RTSP server doesn't start: {errors.read()[-200:].strip()}")
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()

    def stop(self) -> None:
        """Kill the server, so that its connections end and its port refuses new ones."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """Stop the server's process, so that it accepts connections and sends nothing."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue the server's process."""
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                name, number, at_ns = line.split()
                self.sent.append((name, int(number), int(at_ns) / 1e9))


@contextmanager
def serving(video: Video, names: Sequence[str]) -> Iterator[CameraServer]:
    """Run one server with some cameras until the block ends."""
    server = CameraServer(video, names)
    server.start()
    try:
        yield server
    finally:
        server.thaw()
        server.stop()
