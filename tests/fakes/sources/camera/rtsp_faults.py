"""Scripts and answers of cameras that do wrong, for `tests.fakes.sources.camera.rtsp.open_rtsp_camera`."""

import base64
import os
import time

from tests.fakes.sources.camera.rtsp import (
    CLOCK_HZ,
    Answer,
    RtspRequest,
    RtspSession,
    Script,
    describe,
    live_numbers,
)
from tests.inputs.videos import Video


def hang(session: RtspSession, _: RtspRequest | None = None) -> None:
    """Say nothing; as the script of a camera, or as its answer to a request."""
    session.hang()


def refuse_login(session: RtspSession, request: RtspRequest) -> None:
    """Ask for a password, whatever the client sent."""
    session.respond(request, status="401 Unauthorized", WWW_Authenticate='Basic realm="camera"')


def build_login(login: str) -> Answer:
    """An answer to DESCRIBE that asks for the password, and describes the stream to those who have it."""
    expected = f"Basic {base64.b64encode(login.encode()).decode()}"

    def answer(session: RtspSession, request: RtspRequest) -> None:
        if request.headers.get("authorization") == expected:
            build_description(describe(session.video))(session, request)
        else:
            refuse_login(session, request)

    return answer


def respond_garbage(session: RtspSession, _: RtspRequest) -> None:
    """Answer with bytes that are no answer, without end."""
    while True:
        session.send(os.urandom(65_536).replace(b"\n", b"x"))


def build_redirect(url: str) -> Answer:
    """An answer that sends the client to another camera."""
    return lambda session, request: session.respond(request, status="302 Moved", Location=url)


def build_description(body: bytes, *, length: int | None = None) -> Answer:
    """An answer to DESCRIBE; `length` is a Content-Length other than the body's."""
    return lambda session, request: session.respond(request, body, length=length, Content_Type="application/sdp")


def play_whole_then(session: RtspSession, whole: int) -> int:
    """Send `whole` frames at once, from a key frame on; return the number of the next frame."""
    first = session.video.next_key(int(time.time() * session.video.rate))
    for number in range(first, first + whole):
        session.send_frame(number)
    return first + whole


def play_half_a_frame(session: RtspSession) -> None:
    """Two seconds of frames, half of a key frame, and then silence."""
    number = play_whole_then(session, 2 * session.video.rate)
    packets = session.build_frame(session.video.next_key(number))
    session.send(packets[: len(packets) // 2])
    session.hang()


def build_flood(rate: int) -> Script:
    """`rate` frames a second, whatever the video's own rate is."""

    def play(session: RtspSession) -> None:
        number, began = 0, time.monotonic()
        while True:
            session.pause(max(0.0, began + number / rate - time.monotonic()))
            session.send_frame(number, number * CLOCK_HZ // rate)
            number += 1

    return play


def build_change(other: Video, frames: int = 20) -> Script:
    """Frames of the camera's video and of another, by turns, on one connection: the picture's size changes."""

    def play(session: RtspSession) -> None:
        own = session.video
        for count, number in enumerate(live_numbers(session)):
            session.video = other if count // frames % 2 else own
            session.send_frame(number)

    return play
