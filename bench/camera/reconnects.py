"""Measures the memory of camera sources over many reconnects: `python -m bench camera_reconnects`.

The sources' clocks are turned, since in real time their pauses would make 10,000 reconnects last a week. Each reconnect
starts and ends a process. With `--real` it is the real decoder: half of the cameras hang up after the first request,
half send one image and end the connection. Else it is `cat`, which prints one frame.
"""

from __future__ import annotations

import gc
import io
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

from bench.camera.stored import save
from bench.function.process import ROOT, environment
from bench.local.platform import wait_until
from bench.measure.process import memory_bytes, private_bytes
from eaves.events import Event
from eaves.sources.camera.decoder_process import DECODER
from eaves.sources.camera.kind import CameraSettings
from eaves.sources.camera.source import CameraSource
from eaves.sources.camera.wire import Opened, StreamFrame, build_message
from tests.fakes.clock import ManualClock
from tests.fakes.sources.camera.scripted_decoder import JPEG
from tests.sources.contexts import build_context

COUNT = 10_000
CHEAP, REAL = "reconnects", "reconnects-real"
"""Names of the stored results."""
CAMERAS = 8
STEPS = 10
"""Number of times at which the process is looked at. The first tenth of the reconnects is not compared: caches of the
interpreter fill in it."""
STEP_S = 61.0
"""Longer than the longest pause between two attempts, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a process with some camera sources holds after a number of reconnects, while no decoder runs.

    Attributes:
        reconnects: Number of reconnects.
        frames: Number of frames that were stored.
        private_mb: Memory that no other process uses, MB. It changes when another process that uses the same libraries
            starts or ends.
        resident_mb: Resident memory, MB.
        descriptors: Number of open files.
        threads: Number of threads.
        seconds: Time since the first reconnect, seconds.
    """

    reconnects: int
    frames: int
    private_mb: float
    resident_mb: float
    descriptors: int
    threads: int
    seconds: float


class Camera:
    """A camera source that runs in a thread, by a clock of its own.

    Args:
        url: Address of its stream.
        command: Command that starts its decoder.
    """

    def __init__(self, url: str, command: Sequence[str]) -> None:
        self.started = self.frames = 0
        """Numbers of decoders that were started, and of frames that were stored."""
        self.clock = ManualClock()
        self._context = build_context(clock=self.clock, store=self._store)
        source = CameraSource(CameraSettings(url=url), self._context, command=command, pace=self._count)
        self._thread = threading.Thread(target=source.run)
        self._thread.start()

    @property
    def is_resting(self) -> bool:
        """Whether the source waits for the time of its next attempt."""
        return bool(self.clock.waiting) and not self._has_child()

    def stop(self) -> None:
        """End the source."""
        self._context.stop()
        self._thread.join(30)

    def _has_child(self) -> bool:
        # The kernel lists a process below the thread that started it. Source: proc(5), /proc/pid/task/tid/children.
        return bool(Path(f"/proc/self/task/{self._thread.native_id}/children").read_text())

    def _store(self, _: Event) -> bool:
        self.frames += 1
        return True

    def _count(self) -> float:
        self.started += 1
        return 0.0


def measure(count: int, *, is_real: bool) -> list[Held]:
    """Measure in a process of its own; return what it holds after each tenth of the reconnects."""
    command = [sys.executable, "-m", "bench.camera.reconnects", str(count), *(["--real"] if is_real else [])]
    found = []
    with subprocess.Popen(command, env=environment(), cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            found.append(Held(**json.loads(line)))
            print(found[-1], file=sys.stderr, flush=True)
    if process.returncode:
        sys.exit(f"error: the process that reconnects ended with exit code {process.returncode}")
    return found


def _run(count: int, *, is_real: bool) -> Iterator[Held]:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, _closing_server(b"") as rtsp, _closing_server(_write_mjpeg()) as http:
        output = Path(folder, "output")
        output.write_bytes(_write_stream())
        command = DECODER if is_real else ("cat", str(output))
        urls = (f"rtsp://127.0.0.1:{rtsp}/stream", f"http://127.0.0.1:{http}/stream")
        cameras = [Camera(urls[number % 2], command) for number in range(CAMERAS)]
        try:
            for step in range(1, STEPS + 1):
                _turn(cameras, count * step // STEPS)
                yield _look(cameras, began)
        finally:
            for camera in cameras:
                camera.stop()


def _turn(cameras: Sequence[Camera], count: int) -> None:
    """Let time pass for each camera that waits, until there were enough reconnects and no decoder runs any more."""
    while sum(camera.started for camera in cameras) < count:
        for camera in cameras:
            if camera.is_resting:
                camera.clock.turn(STEP_S)
        time.sleep(0.005)
    wait_until(lambda: all(camera.is_resting for camera in cameras))


def _look(cameras: Sequence[Camera], began: float) -> Held:
    gc.collect()
    return Held(
        reconnects=sum(camera.started for camera in cameras),
        frames=sum(camera.frames for camera in cameras),
        private_mb=private_bytes() / 1e6,
        resident_mb=memory_bytes("self", "Rss") / 1e6,
        descriptors=sum(1 for _ in Path("/proc/self/fd").iterdir()),
        threads=threading.active_count(),
        seconds=time.monotonic() - began,
    )


def _write_stream() -> bytes:
    """Return the output of a decoder that sends one frame."""
    frame = StreamFrame(data=JPEG, number=0, captured_at_ns=1, arrived_ns=1)
    return build_message(Opened(codec="h264", width=1920, height=1080)) + build_message(frame)


def _write_mjpeg() -> bytes:
    """Return the answer of a camera that sends one image by HTTP and then ends the connection."""
    image = io.BytesIO()
    Image.effect_noise((640, 360), 40).convert("RGB").save(image, "JPEG")
    head = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
    part = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
    return head + part % len(image.getvalue()) + image.getvalue() + b"\r\n--frame\r\n"


@contextmanager
def _closing_server(answer: bytes) -> Iterator[int]:
    """Accept connections, answer the first request of each, and close it."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    peer, _ = server.accept()
                    with peer, suppress(OSError):
                        peer.settimeout(5)
                        if peer.recv(4_096):
                            peer.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def main() -> None:
    """Measure 10,000 reconnects of either kind, which takes an hour; print and store the results."""
    for name in (CHEAP, REAL):
        held = measure(COUNT, is_real=name == REAL)
        save(held, name)
        print(name, *held, sep="\n", flush=True)


if __name__ == "__main__":
    for one in _run(int(sys.argv[1]), is_real="--real" in sys.argv):
        print(json.dumps(asdict(one)), flush=True)
