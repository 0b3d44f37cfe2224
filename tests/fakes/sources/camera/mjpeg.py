"""Answers of cameras that send MJPEG over HTTP (multipart/x-mixed-replace), for `tests.fakes.http.camera.open_camera`.

An answer is an iterator of pieces; the connection is closed at its end.
"""

import itertools
import time
from collections.abc import Iterator

from tests.fakes.http.camera import FakeCamera
from tests.inputs.videos import Video, wait_for_frame

BOUNDARY = "frame"
HEAD = f"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary={BOUNDARY}\r\n\r\n".encode()


def build_part(jpeg: bytes, *, length: int | None = -1) -> bytes:
    """One image of a stream.

    Args:
        jpeg: The image.
        length: Its Content-Length; the right one when it is -1, none when it is None.
    """
    field = "" if length is None else f"Content-Length: {len(jpeg) if length == -1 else length}\r\n"
    return f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\n{field}\r\n".encode() + jpeg + b"\r\n"


def stream_live(camera: FakeCamera, video: Video, *, lengths: bool = True) -> Iterator[bytes]:
    """Each frame at its own time, as `tests.processes.rtsp_server` sends it, until the test is over.

    Args:
        camera: The camera that answers.
        video: What it shows, of the codec `mjpeg`.
        lengths: Whether parts have a Content-Length; some cameras send none.
    """
    yield HEAD
    for number in itertools.count(int(time.time() * video.rate) + 1):
        wait_for_frame(video, number)
        if camera.released.is_set():
            return
        yield build_part(video.packets[number % len(video.packets)].data, length=-1 if lengths else None)


def stream_half(camera: FakeCamera, video: Video) -> Iterator[bytes]:
    """Two whole images, half of one, and then silence."""
    yield HEAD
    for packet in video.packets[:2]:
        yield build_part(packet.data)
    part = build_part(video.packets[2].data)
    yield part[: len(part) // 2]
    yield from camera.hang()


def stream_cut(video: Video) -> Iterator[bytes]:
    """Images, each second one of which ends in its middle: the next part begins there."""
    yield HEAD
    for index, packet in enumerate(video.packets):
        data = packet.data
        yield build_part(data if index % 2 == 0 else data[: len(data) // 2])


def stream_endless_image(camera: FakeCamera, video: Video) -> Iterator[bytes]:
    """An image that never ends, because the boundary never comes; `video` is of the codec `mjpeg`."""
    yield HEAD
    yield f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\n\r\n".encode() + video.packets[0].data[:-2]
    while not camera.released.is_set():
        yield b"\x55" * 65_536


def stream_lying_lengths(camera: FakeCamera, video: Video, length: int) -> Iterator[bytes]:
    """Images at their own times, whose Content-Length lies."""
    yield HEAD
    for number in itertools.count(int(time.time() * video.rate) + 1):
        wait_for_frame(video, number)
        if camera.released.is_set():
            return
        yield build_part(video.packets[number % len(video.packets)].data, length=length)
