"""Runs one child for each camera: Debian's ffmpeg, or PyAV alone, and notes the JPEG images that they write."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

END = b"\xff\xd9"
PROBE = ("-analyzeduration", "0", "-fpsprobesize", "0")
"""Options with which ffmpeg looks at as little of the stream as it can before it begins. Without them its first image
comes 7 to 10 seconds after its start, because it looks at 5 seconds of a stream whose frames it skips."""
BARE = Path(__file__).with_name("bare.py")


def ffmpeg(url: str) -> list[str]:
    """Return the command with which Debian's ffmpeg writes the key frames as JPEG images."""
    words = [
        "-rtsp_transport",
        "tcp",
        "-fflags",
        "nobuffer",
        "-flags",
        "low_delay",
        *PROBE,
        "-skip_frame",
        "nokey",
        "-i",
        url,
    ]
    words += ["-an", "-fps_mode", "passthrough", "-c:v", "mjpeg", "-threads", "1", "-q:v", "3", "-f", "image2pipe", "-"]
    return ["ffmpeg", "-v", "error", "-nostdin", "-threads", "1", *words]


def bare_keys(url: str) -> list[str]:
    """Return the command with which PyAV alone writes the key frames as JPEG images."""
    return [sys.executable, "-P", str(BARE), url, "keys"]


def bare_copy(url: str) -> list[str]:
    """Return the command with which PyAV alone reads a stream and decodes nothing."""
    return [sys.executable, "-P", str(BARE), url, "copy"]


class Child:
    """One child, whose output is read by a thread.

    Args:
        command: Command of the child.
        is_kept: Whether a child that ends is started again, after a second.
    """

    def __init__(self, command: Sequence[str], *, is_kept: bool = False) -> None:
        self.images: list[tuple[float, int]] = []
        """Monotonic time and size in bytes of each image."""
        self.last = b""
        self._command, self._is_kept = command, is_kept
        self._stopped = threading.Event()
        self.started_at = time.monotonic()
        self._process = self._start()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Id of the child's process."""
        return self._process.pid

    def stop(self) -> None:
        """Kill the child."""
        self._stopped.set()
        self._process.kill()
        self._thread.join(10)

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )

    def _read(self) -> None:
        while True:
            self._read_images(self._process)
            self._process.wait()
            if not self._is_kept or self._stopped.wait(1.0):
                return
            self._process = self._start()

    def _read_images(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        data = bytearray()
        with process.stdout as pipe:
            while chunk := pipe.read1(1 << 20):  # type: ignore[attr-defined]
                data += chunk
                if data.endswith(END):  # both write one image after the other, and pause between them
                    self.last = bytes(data)
                    self.images.append((time.monotonic(), len(data)))
                    data.clear()


@contextmanager
def children(commands: Sequence[Sequence[str]], *, are_kept: bool = False) -> Iterator[list[Child]]:
    """Run children until the block ends."""
    with ExitStack() as stack:
        found = []
        for command in commands:
            child = Child(command, is_kept=are_kept)
            stack.callback(child.stop)
            found.append(child)
        yield found
