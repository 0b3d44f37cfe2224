"""A decoder whose camera, parent or data misbehave: what it drops, what it survives, and how it ends."""

from __future__ import annotations

import itertools
import signal
from pathlib import Path

import pytest

from eaves.plugins.camera.messages import DroppedFrames, StreamFrame, StreamRequest
from tests.fakes.http.camera import open_camera
from tests.fakes.sources.camera.mjpeg import (
    HEAD,
    build_part,
)
from tests.fakes.sources.camera.rtsp import RtspSession, open_rtsp_camera
from tests.inputs.videos import make_video, need_av, read_number
from tests.processes.decoder import Decoder, run_decoder
from tests.waiting import wait_until


@pytest.fixture(autouse=True)
def _av() -> None:
    need_av()


def split_interleaved(data: bytes) -> list[bytes]:
    """The packets of RTP over TCP, each with its length in front."""
    packets = []
    while data:
        length = 4 + int.from_bytes(data[2:4])
        packets.append(data[:length])
        data = data[length:]
    return packets


def _drops(decoder: Decoder) -> dict[str, int]:
    counts: dict[str, int] = {}
    for message in decoder.messages:
        if isinstance(message, DroppedFrames):
            counts[message.cause] = counts.get(message.cause, 0) + message.count
    return counts


def test_an_image_that_is_too_large_is_dropped_and_the_next_is_sent() -> None:
    video = make_video("mjpeg")
    limit = max(len(packet.data) for packet in video.packets) + 100
    padding = b"\xff\xe5\xff\xff" + bytes(65_533)  # a segment that makes an image larger and not different
    large = video.packets[0].data[:2] + padding + video.packets[0].data[2:]
    body = HEAD + b"".join(build_part(data) for data in (large, video.packets[1].data, video.packets[2].data))
    with (
        open_camera(lambda _: iter([body])) as camera,
        run_decoder(StreamRequest(url=camera.url, max_bytes=limit)) as decoder,
    ):
        decoder.end()
    numbers = [read_number(message.data) for message in decoder.messages if isinstance(message, StreamFrame)]
    assert set(numbers) <= {1, 2}
    assert numbers[-1] == 2
    assert _drops(decoder)["too_large"] == 1


def test_damaged_data_are_dropped_and_reading_continues() -> None:
    video = make_video()

    def play(session: RtspSession) -> None:
        for number in itertools.count():
            packets = split_interleaved(session.build_frame(number))
            if number % 20 == 10:  # every second key frame loses its middle
                del packets[-3:-1]
            session.send(b"".join(packets))
            session.pause(0.02)

    with open_rtsp_camera(video, play) as camera, run_decoder(StreamRequest(url=camera.url())) as decoder:
        frames = decoder.frames(3)
        assert decoder.process.poll() is None
    for frame in frames:
        assert read_number(frame.data) % 20 == 0
    assert _drops(decoder)["unreadable"] >= 1


def _silent(session: RtspSession) -> None:
    session.send_frame(0)
    session.send_frame(1)
    session.hang()


def test_it_says_goodbye_to_the_camera() -> None:
    video = make_video()
    said: list[str] = []

    def play(session: RtspSession) -> None:
        for number in itertools.count():
            session.send_frame(number)
            session.pause(0.02)
            session._connection.setblocking(False)
            try:
                data = session._connection.recv(4096)
            except BlockingIOError:
                continue
            finally:
                session._connection.setblocking(True)
            said.append(data.decode("latin-1"))
            if not data:
                return

    with open_rtsp_camera(video, play) as camera, run_decoder(StreamRequest(url=camera.url())) as decoder:
        decoder.frames(1)
        decoder.process.send_signal(signal.SIGTERM)
        assert decoder.process.wait(5) == 0
        wait_until(lambda: any("TEARDOWN" in text for text in said))


def test_the_end_of_stdin_ends_it() -> None:
    with open_rtsp_camera(make_video(), _silent) as camera, run_decoder(StreamRequest(url=camera.url())) as decoder:
        decoder.frames(1)
        assert decoder.process.stdin is not None
        decoder.process.stdin.close()
        assert decoder.process.wait(5) == 0


def test_it_has_a_limit_of_memory_and_few_threads() -> None:
    with open_rtsp_camera(make_video(), _silent) as camera, run_decoder(StreamRequest(url=camera.url())) as decoder:
        decoder.frames(1)
        limits = Path(f"/proc/{decoder.process.pid}/limits").read_text()
        assert "Max data size             500000000 " in limits
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{decoder.process.pid}/status").read_text().splitlines()
        )
        assert int(status["Threads"]) <= 4
