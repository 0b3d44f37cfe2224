"""Measures a decoder without the agent, and Debian's ffmpeg beside it: start, recovery after a cut, time of a frame."""

from __future__ import annotations

import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench.camera.agent import build_source, running
from bench.camera.cameras import CameraServer
from bench.camera.children import Child, children, ffmpeg
from bench.camera.sink import accepting
from bench.camera.video import RATE, SECONDS, read_number
from bench.function.process import environment
from bench.local.platform import wait_until
from bench.measure.process import memory_bytes
from eaves.sources.camera.decoder_process import DECODER
from eaves.sources.camera.wire import StreamFrame, StreamRequest, build_request, read_message

CUT_S = 4.0
MAX_BYTES = 20_000_000


@dataclass(slots=True, kw_only=True)
class Decoder:
    """A decoder that runs without an agent.

    Attributes:
        started_at: Monotonic time of its start, seconds.
        frames: Monotonic time at which each frame was read from its pipe, and the frame.
    """

    started_at: float
    frames: list[tuple[float, StreamFrame]] = field(default_factory=list)


@contextmanager
def decoding(url: str) -> Iterator[Decoder]:
    """Run a decoder until the block ends."""
    found = Decoder(started_at=time.monotonic())
    process = subprocess.Popen(DECODER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
    assert process.stdin is not None
    assert process.stdout is not None
    output = process.stdout

    def read() -> None:
        while (message := read_message(output, MAX_BYTES)) is not None:
            if isinstance(message, StreamFrame):
                found.frames.append((time.monotonic(), message))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        process.stdin.write(build_request(StreamRequest(url=url)))
        process.stdin.flush()
        yield found
    finally:
        process.kill()
        process.wait()
        thread.join(5)
        process.stdin.close()
        output.close()


def measure_idle_mb() -> tuple[float, float]:
    """Return PSS and RSS of a decoder that has not loaded PyAV yet: the interpreter, and the part of Eaves, MB."""
    process = subprocess.Popen(DECODER, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment())
    time.sleep(2)
    found = memory_bytes(process.pid, "Pss") / 1e6, memory_bytes(process.pid, "Rss") / 1e6
    process.kill()
    process.communicate()
    return found


def measure_starts(server: CameraServer, rounds: int) -> tuple[float, float]:
    """Return the times from the start to the first image: of a decoder, and of ffmpeg; medians in turns, seconds.

    A server that has no client waits for a key frame before it answers, as one whose stream is idle. So a client holds
    the stream open, as a recorder does.
    """
    url, ours, theirs = server.url(server.names[0]), [], []
    with decoding(url):
        for number in range(rounds):
            time.sleep(number % 7 * 0.137)  # a key frame comes each second; starts fall between two of them
            with decoding(url) as decoder:
                wait_until(lambda decoder=decoder: decoder.frames)  # type: ignore[misc]
                ours.append(decoder.frames[0][0] - decoder.started_at)
            with children([ffmpeg(url)]) as (child,):
                wait_until(lambda child=child: child.images)  # type: ignore[misc]
                theirs.append(child.images[0][0] - child.started_at)
    return statistics.median(ours), statistics.median(theirs)


def measure_stages(server: CameraServer, seconds: float) -> tuple[list[float], list[float]]:
    """Return the times of key frames, ms: from the server to the decoder, and from there to the image in the parent."""
    arrived, decoded = [], []
    with decoding(server.url(server.names[0])) as decoder:
        time.sleep(seconds)
        frames = list(decoder.frames)
    for read_at, frame in frames[1:]:
        if (sent_at := find_sent(server, server.names[0], frame.data, read_at)) is not None:
            arrived.append(frame.arrived_ns / 1e6 - sent_at * 1e3)
            decoded.append(read_at * 1e3 - frame.arrived_ns / 1e6)
    return arrived, decoded


def find_sent(server: CameraServer, name: str, data: bytes, before_s: float) -> float | None:
    """Return the monotonic time at which the server sent the frame that an image shows; None when it is unknown."""
    number = read_number(data)
    sent = [at for camera, sent, at in server.sent if camera == name and sent == number and at < before_s]
    return max(sent) if sent and before_s - max(sent) < SECONDS - 1 / RATE else None


def measure_recovery(server: CameraServer, rounds: int) -> tuple[list[float], list[float]]:
    """Return the times from the end of a cut to the next image, seconds: of Eaves, and of ffmpeg.

    The same cut ends both. A parent starts ffmpeg again a second after its end.
    """
    url, ours, theirs = server.url(server.names[0]), [], []
    with accepting() as sink, running([build_source("cut", url)], sink=sink.url) as agent:
        wait_until(agent.count_captures)
        with children([ffmpeg(url)], are_kept=True) as (child,):
            for _ in range(rounds):
                _wait_for_image(child)
                time.sleep(12)
                server.stop()
                time.sleep(CUT_S)
                server.start()
                returned, wall = time.monotonic(), time.time()
                theirs.append(_wait_for_image(child) - returned)
                wait_until(lambda wall=wall: any(one.is_capture and one.at > wall for one in agent.read_log()))  # type: ignore[misc]
                ours.append(min(one.at for one in agent.read_log() if one.is_capture and one.at > wall) - wall)
    return ours, theirs


def _wait_for_image(child: Child) -> float:
    """Wait for one more image, and return its monotonic time."""
    seen = len(child.images)
    wait_until(lambda: len(child.images) > seen)
    return child.images[seen][0]
