"""The decoder with every kind of stream, and with a camera, a parent or data that misbehave."""

import itertools
import signal
import statistics
import time
from pathlib import Path

import pytest

from eaves.plugins.camera.messages import Alive, DroppedFrames, Opened, StreamFrame, StreamRequest
from tests.fakes.http.camera import open_camera
from tests.fakes.sources.camera.mjpeg import (
    HEAD,
    build_part,
    stream_live,
)
from tests.fakes.sources.camera.rtsp import RtspRequest, RtspSession, describe, open_rtsp_camera
from tests.inputs.videos import Video, make_video, need_av, read_number
from tests.processes.decoder import Decoder, run_decoder
from tests.processes.rtmp_server import run_rtmp_server
from tests.processes.rtsp_server import run_rtsp_server
from tests.waiting import wait_until

pytestmark = pytest.mark.disk  # below /dev, where tests have files in memory, a camera's file is a device

LATE_S = 0.3
"""Seconds by which half of the capture times may be wrong; a busy machine delays single frames by more."""


def _check(video: Video, decoder: Decoder, frames: list[StreamFrame]) -> list[int]:
    """The numbers that are drawn into the frames, whose capture times are checked."""
    numbers, times = [read_number(frame.data) for frame in frames], [frame.captured_at_ns / 1e9 for frame in frames]
    late = [abs(time_s - video.shown_at_s(number, time_s + 1)) for number, time_s in zip(numbers, times, strict=True)]
    assert (statistics.median(late) < LATE_S, max(late) < 1) == (True, True), late
    return numbers


def _opened(decoder: Decoder) -> list[tuple[str, int, int, str]]:
    opened = [message for message in decoder.messages if isinstance(message, Opened)]
    return [(one.codec, one.width, one.height, one.decoding) for one in opened]


@pytest.mark.parametrize(("codec", "transport"), [("h264", "tcp"), ("hevc", "udp")])
@pytest.mark.long("a camera's stream runs in real time")
def test_key_frames_by_rtsp(tmp_path: Path, codec: str, transport: str):
    video = make_video(codec)
    with (
        run_rtsp_server(tmp_path, {"/stream": video}) as server,
        run_decoder(StreamRequest(url=server.url(), transport=transport)) as decoder,
    ):
        numbers = _check(video, decoder, decoder.frames(3))
        decoder.next(Alive)
    assert all(video.packets[number].key for number in numbers)
    assert _opened(decoder) == [(codec, 320, 180, "key")]


@pytest.mark.long("a camera's stream runs in real time")
def test_all_frames_are_decoded_when_key_frames_come_too_seldom(tmp_path: Path):
    video = make_video(key_every=20)
    with (
        run_rtsp_server(tmp_path, {"/stream": video}) as server,
        run_decoder(StreamRequest(url=server.url(), every_s=0.5)) as decoder,
    ):
        numbers = _check(video, decoder, decoder.frames(6))
    steps = [(after - before) % len(video.packets) for before, after in itertools.pairwise(numbers[2:])]
    assert 4 <= statistics.median(steps) <= 6, steps
    assert sum(steps) == pytest.approx(15, abs=5), "by key frames alone there were 20 from each to the next"
    assert [decoding for *_, decoding in _opened(decoder)] == ["all"]


@pytest.mark.parametrize("lengths", [True, False])
def test_jpeg_images_by_http_arrive_as_they_are(*, lengths: bool):
    video = make_video("mjpeg")
    with open_camera(lambda _: stream_live(camera, video, lengths=lengths)) as camera:
        with run_decoder(StreamRequest(url=f"{camera.url}/video")) as decoder:
            frames = decoder.frames(5)
        numbers = _check(video, decoder, frames) if lengths else [read_number(frame.data) for frame in frames]
    assert [frame.data for frame in frames] == [video.packets[number].data for number in numbers]
    assert _opened(decoder) == [("mjpeg", 320, 180, "none")]


def test_rtmp(tmp_path: Path):
    with (
        run_rtmp_server(tmp_path, make_video()) as server,
        run_decoder(StreamRequest(url=server.url, connect_timeout_s=15)) as decoder,
    ):
        frames = decoder.frames(3)
    assert all(read_number(frame.data) % 10 == 0 for frame in frames)
    assert _opened(decoder)[-1] == ("h264", 320, 180, "key")


def test_a_stream_that_begins_between_key_frames_is_open_at_once():
    """A camera may send its next key frame after seconds; the limit of a connection doesn't cover them."""
    video = make_video(key_every=20)

    def play(session: RtspSession) -> None:
        for number in range(3, 60):
            session.send_frame(number)
            session.pause(0.1)

    with open_rtsp_camera(video, play) as camera:
        began = time.monotonic()
        with run_decoder(StreamRequest(url=camera.url(), connect_timeout_s=1.0)) as decoder:
            decoder.next(Opened)
            assert time.monotonic() - began < 1.0
            assert read_number(decoder.frames(1)[0].data) == 20


def test_a_server_that_describes_no_parameters():
    """The frames have the parameter sets then, and the size is known with the first one."""
    video = make_video()

    def describe_less(session: RtspSession, request: RtspRequest) -> None:
        lines = describe(video).decode().splitlines()
        body = "\r\n".join([line for line in lines if "fmtp" not in line and "framerate" not in line] + [""]).encode()
        session.respond(request, body, Content_Type="application/sdp", Content_Base=f"{request.url}/")

    with (
        open_rtsp_camera(video, answers={"DESCRIBE": describe_less}) as camera,
        run_decoder(StreamRequest(url=camera.url())) as decoder,
    ):
        assert read_number(decoder.frames(1)[0].data) % 10 == 0
    assert _opened(decoder)[-1] == ("h264", 320, 180, "key")


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "h264"), ("avi", "mjpeg")])
def test_a_file_is_read_to_its_end(tmp_path: Path, suffix: str, codec: str):
    video = make_video(codec)
    file = video.write(tmp_path / f"video.{suffix}")
    request = StreamRequest(url=str(file), paced=False, every_s=1.0)
    seen = []
    for _ in range(2):
        with run_decoder(request) as decoder:
            assert decoder.end().code == "finished"
        frames = [message for message in decoder.messages if isinstance(message, StreamFrame)]
        assert [read_number(frame.data) for frame in frames] == [0, 10, 20, 30]
        ended_s = file.stat().st_mtime
        for index, frame in enumerate(frames):
            assert frame.captured_at_ns / 1e9 == pytest.approx(ended_s - 4 + index, abs=0.3)
        seen.append([(frame.number, frame.captured_at_ns) for frame in frames])
    assert seen[0] == seen[1]


def test_recordings_that_were_put_together(tmp_path: Path):
    video = make_video(seconds=2)
    parts = [video.write(tmp_path / f"{first_s}.ts", first_s=first_s).read_bytes() for first_s in (0, 3600)]
    file = tmp_path / "both.ts"
    file.write_bytes(b"".join(parts))
    began = time.monotonic()
    with run_decoder(StreamRequest(url=str(file))) as decoder:
        decoder.end()
    assert sum(isinstance(message, StreamFrame) for message in decoder.messages) == 4
    assert 3 < time.monotonic() - began < 9


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


def test_an_image_that_is_too_large_is_dropped_and_the_next_is_sent():
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


def test_damaged_data_are_dropped_and_reading_continues():
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


def test_it_says_goodbye_to_the_camera():
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


def test_the_end_of_stdin_ends_it():
    with open_rtsp_camera(make_video(), _silent) as camera, run_decoder(StreamRequest(url=camera.url())) as decoder:
        decoder.frames(1)
        assert decoder.process.stdin is not None
        decoder.process.stdin.close()
        assert decoder.process.wait(5) == 0


def test_it_has_a_limit_of_memory_and_few_threads():
    with open_rtsp_camera(make_video(), _silent) as camera, run_decoder(StreamRequest(url=camera.url())) as decoder:
        decoder.frames(1)
        limits = Path(f"/proc/{decoder.process.pid}/limits").read_text()
        assert "Max data size             500000000 " in limits
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{decoder.process.pid}/status").read_text().splitlines()
        )
        assert int(status["Threads"]) <= 4
