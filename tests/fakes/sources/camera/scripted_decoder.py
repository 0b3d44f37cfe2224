"""A decoder that does what its first argument says: `python -P scripted_decoder.py NAME`. It reads no stream."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from eaves.plugins.camera.messages import (
    HEADER,
    Alive,
    Ended,
    Message,
    Opened,
    StreamFrame,
    StreamRequest,
    build_message,
    parse_request,
)

JPEG = b"\xff\xd8\xff" + b"picture" * 100 + b"\xff\xd9"
OPENED = Opened(codec="h264", width=320, height=180)


def build_command(name: str, *arguments: str) -> tuple[str, ...]:
    """The command of a decoder that does `name`."""
    return (sys.executable, "-P", str(Path(__file__).absolute()), name, *arguments)


def build_frame(number: int) -> StreamFrame:
    return StreamFrame(data=JPEG, number=number, captured_at_ns=time.time_ns())


def send(*messages: Message) -> None:
    for message in messages:
        write(build_message(message))


def write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def sleep() -> None:
    while True:
        time.sleep(60)


def live(request: StreamRequest) -> None:
    """A camera that works."""
    send(OPENED)
    for number in range(1_000_000):
        send(build_frame(number))
        time.sleep(0.05)


def silent(request: StreamRequest) -> None:
    """One frame, and nothing more."""
    send(OPENED, build_frame(0))
    sleep()


def mute(request: StreamRequest) -> None:
    """It hangs before the stream is open."""
    sleep()


def no_frames(request: StreamRequest) -> None:
    """Data arrive, and no frame."""
    send(OPENED)
    while True:
        send(Alive())
        time.sleep(0.02)


def stubborn(request: StreamRequest) -> None:
    """It ignores SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    silent(request)


def flood(request: StreamRequest) -> None:
    """Frames without a pause."""
    send(OPENED)
    for number in range(1_000_000_000):
        send(build_frame(number))


def one(request: StreamRequest) -> None:
    """One frame, and the camera ends the stream."""
    send(OPENED, build_frame(0), Ended(code="broken", message="the camera ended the stream"))


def half(request: StreamRequest) -> None:
    """Half a message."""
    send(OPENED, build_frame(0))
    write(build_message(build_frame(1))[:200])


def garbage(request: StreamRequest) -> None:
    """No messages at all, without end."""
    while True:
        write(b"GET / HTTP/1.1\r\n" * 100)


def lies(request: StreamRequest, number: str) -> None:
    """A message that no decoder sends."""
    bodies = (
        b'{"cause": ["late"], "count": 1}',
        b'{"cause": "late", "count": 1e99}',
    )
    body = b'{"kind": "DroppedFrames", ' + bodies[int(number)][1:]
    write(HEADER.pack(len(body), 0) + body)
    sleep()


def crash(request: StreamRequest) -> None:
    """It writes many lines and dies."""
    send(OPENED, build_frame(0))
    for number in range(300):
        os.write(2, f"line {number} of {request.url}\n".encode())
    os.kill(os.getpid(), signal.SIGSEGV)


def orphan(request: StreamRequest, file: str) -> None:
    """It dies, and what it has started ignores SIGTERM and keeps its pipes open; the file gets that process's id."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    send(OPENED, build_frame(0))
    if pid := os.fork():
        Path(file).write_text(str(pid))
        os._exit(1)
    time.sleep(60)


def fail(request: StreamRequest, code: str) -> None:
    """It ends with a reason that contains the address and the password."""
    password = unquote(urlsplit(request.url).password or "")
    send(Ended(code=code, message=f"{request.url} does not work with {password}: {code}"))  # type: ignore[arg-type]


def refuse(request: StreamRequest, password: str) -> None:
    """It works with one password only."""
    if f":{password}@" in request.url:
        live(request)
    send(Ended(code="refused_login", message="the camera refused the user name or the password"))


def play(request: StreamRequest) -> None:
    """A file of some frames."""
    send(OPENED)
    for number in range(5):
        send(build_frame(number))
        time.sleep(0.02)
    send(Ended(code="finished"))


def show_environ(request: StreamRequest) -> None:
    """It ends with the names of its environment variables as the reason."""
    send(Ended(code="broken", message=" ".join(sorted(os.environ))))


SCRIPTS: tuple[Callable[..., None], ...] = (
    *(live, silent, mute, no_frames, stubborn, flood, one, half, garbage, lies, crash, orphan),
    *(fail, refuse, play, show_environ),
)


def main() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
    script = next(one for one in SCRIPTS if one.__name__ == sys.argv[1])
    script(parse_request(sys.stdin.buffer.readline()), *sys.argv[2:])


if __name__ == "__main__":
    main()
