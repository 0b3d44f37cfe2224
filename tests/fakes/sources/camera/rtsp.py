"""A camera that speaks RTSP as a test says: it serves real H.264 over TCP, and does wrong whatever a script says.

`open_rtsp_camera(video, script)` runs one. A script is a function that gets the session of a client that plays, and
sends whatever it likes; `play_live` is the script of a camera that works. `answers` replaces the answer to a request
before that, by its method. RTP over TCP is in RFC 2326, section 10.12; H.264 in RTP is in RFC 6184, section 5.
"""

import base64
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from socketserver import StreamRequestHandler

from tests.fakes.threaded_server import ThreadedServer, serving
from tests.inputs.videos import Video, wait_for_frame

PAYLOAD_BYTES = 1400
CLOCK_HZ = 90_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RtspRequest:
    """One request.

    Attributes:
        method: Such as `DESCRIBE`.
        url: Its address as the client wrote it.
        headers: Names in lower case.
    """

    method: str
    url: str
    headers: Mapping[str, str]


Script = Callable[["RtspSession"], None]
"""What happens after PLAY; the connection is closed when it returns."""
Answer = Callable[["RtspSession", RtspRequest], None]
"""What is done with a request; raising `HangupError` closes the connection."""


class HangupError(Exception):
    """The camera closes the connection."""


@dataclass
class RtspCamera:
    """The camera's behaviour and what it was asked.

    Attributes:
        video: What it shows; a script may show another.
        script: What it sends after PLAY; it may be replaced at any time, for later clients.
        answers: Answers to requests by method, in place of the usual ones.
        port: Its TCP port.
        scheme: `rtsp`, or `rtsps` with TLS.
        requests: Every request so far.
        connections: Connections made so far.
        released: Set when the test is over: a script that hangs waits for it.
    """

    video: Video
    script: Script
    answers: Mapping[str, Answer]
    port: int = 0
    scheme: str = "rtsp"
    requests: list[RtspRequest] = field(default_factory=list)
    connections: int = 0
    released: threading.Event = field(default_factory=threading.Event)

    def url(self, *, login: str = "") -> str:
        """Its address; `login` is `USER:PASSWORD`."""
        return f"{self.scheme}://{f'{login}@' if login else ''}127.0.0.1:{self.port}/stream"


class RtspSession:
    """One client's connection."""

    def __init__(self, camera: RtspCamera, connection: socket.socket) -> None:
        self.camera = camera
        self.video = camera.video
        self._connection = connection
        self._sequence = 0

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._connection.sendall(data)

    def respond(
        self,
        request: RtspRequest,
        body: bytes = b"",
        *,
        status: str = "200 OK",
        length: int | None = None,
        **headers: str,
    ) -> None:
        """Send an answer; `length` is a Content-Length other than the body's."""
        lines = [f"RTSP/1.0 {status}", f"CSeq: {request.headers.get('cseq', '0')}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body or length is not None:
            lines.append(f"Content-Length: {len(body) if length is None else length}")
        self.send("\r\n".join([*lines, "", ""]).encode() + body)

    def hang(self) -> None:
        """Say nothing until the test is over."""
        self.camera.released.wait(120)
        raise HangupError

    def pause(self, seconds: float) -> None:
        """Pause; the connection is closed when the test is over."""
        if self.camera.released.wait(seconds):
            raise HangupError

    def build_frame(self, number: int, rtp_time: int | None = None) -> bytes:
        """The interleaved RTP packets of one frame; `number` may be greater than the video is long."""
        shown_at = (number * CLOCK_HZ // self.video.rate if rtp_time is None else rtp_time) & 0xFFFFFFFF
        payloads = list(split_payloads(self.video.packets[number % len(self.video.packets)].data))
        packets = b""
        for index, payload in enumerate(payloads):
            marker = 0x80 if index == len(payloads) - 1 else 0
            packet = struct.pack(">BBHII", 0x80, marker | 96, self._sequence, shown_at, 0x0EA7E5) + payload
            packets += struct.pack(">cBH", b"$", 0, len(packet)) + packet
            self._sequence = (self._sequence + 1) & 0xFFFF
        return packets

    def send_frame(self, number: int, rtp_time: int | None = None) -> None:
        """Send one frame."""
        self.send(self.build_frame(number, rtp_time))


def live_numbers(session: RtspSession) -> Iterator[int]:
    """Yield each frame's number when its time has come, from a key frame on, until the test is over."""
    number = session.video.next_key(int(time.time() * session.video.rate) + 1)
    while not session.camera.released.is_set():
        wait_for_frame(session.video, number)
        yield number
        number += 1


def play_live(session: RtspSession) -> None:
    """Send each frame at its own time, as the real server does."""
    for number in live_numbers(session):
        session.send_frame(number)


def describe(video: Video) -> bytes:
    """The SDP of a video."""
    units = list(split_units(video.packets[0].data))
    sets = [unit for unit in units if unit[0] & 31 in (7, 8)]
    sprop = ",".join(base64.b64encode(unit).decode() for unit in sets)
    lines = [
        "v=0",
        "o=- 0 0 IN IP4 127.0.0.1",
        "s=camera",
        "c=IN IP4 0.0.0.0",
        "t=0 0",
        "m=video 0 RTP/AVP 96",
        f"a=rtpmap:96 H264/{CLOCK_HZ}",
        f"a=fmtp:96 packetization-mode=1;profile-level-id={sets[0][1:4].hex()};sprop-parameter-sets={sprop}",
        f"a=framerate:{video.rate}",
        "a=control:track1",
    ]
    return "\r\n".join([*lines, ""]).encode()


def split_units(data: bytes) -> Iterator[bytes]:
    """The NAL units of an access unit with start codes."""
    for part in data.split(b"\x00\x00\x01"):
        if unit := part.rstrip(b"\x00"):
            yield unit


def split_payloads(data: bytes) -> Iterator[bytes]:
    """The RTP payloads of an access unit: whole NAL units, and pieces of large ones (FU-A)."""
    for unit in split_units(data):
        if len(unit) <= PAYLOAD_BYTES:
            yield unit
            continue
        indicator, kind, rest = unit[0] & 0xE0 | 28, unit[0] & 31, unit[1:]
        for start in range(0, len(rest), PAYLOAD_BYTES):
            piece = rest[start : start + PAYLOAD_BYTES]
            edges = (0x80 if start == 0 else 0) | (0x40 if start + PAYLOAD_BYTES >= len(rest) else 0)
            yield bytes((indicator, edges | kind)) + piece


@contextmanager
def open_rtsp_camera(
    video: Video,
    script: Script = play_live,
    *,
    answers: Mapping[str, Answer] | None = None,
    context: ssl.SSLContext | None = None,
) -> Iterator[RtspCamera]:
    """A running camera; with `context`, by TLS."""
    camera = RtspCamera(video, script, dict(answers or {}), scheme="rtsps" if context else "rtsp")
    opened: set[socket.socket] = set()

    class Handler(StreamRequestHandler):
        def setup(self) -> None:
            self.request.settimeout(30)
            if context is not None:
                self.request = context.wrap_socket(self.request, server_side=True)
            super().setup()

        def finish(self) -> None:
            with suppress(OSError):
                super().finish()
            opened.discard(self.request)
            self.request.close()

        def handle(self) -> None:
            camera.connections += 1
            opened.add(self.request)
            with suppress(OSError, HangupError):
                _serve(RtspSession(camera, self.request), self)

    server = ThreadedServer(("127.0.0.1", 0), Handler)
    camera.port = int(server.server_address[1])
    with serving(server, opened, camera.released):
        yield camera


def _serve(session: RtspSession, handler: StreamRequestHandler) -> None:
    """Answer the requests of a connection until its script has ended."""
    while request := _read_request(handler):
        session.camera.requests.append(request)
        if answer := session.camera.answers.get(request.method):
            answer(session, request)
            continue
        match request.method:
            case "OPTIONS":
                session.respond(request, Public="OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER")
            case "DESCRIBE":
                body = describe(session.video)
                session.respond(request, body, Content_Type="application/sdp", Content_Base=f"{request.url}/")
            case "SETUP":
                session.respond(request, Transport="RTP/AVP/TCP;unicast;interleaved=0-1", Session="12345678")
            case "PLAY":
                session.respond(request, Session="12345678", Range="npt=0.000-")
                session.camera.script(session)
                return
            case _:
                session.respond(request, Session="12345678")


def _read_request(handler: StreamRequestHandler) -> RtspRequest | None:
    words = handler.rfile.readline(8192).decode("latin-1").split()
    if len(words) != 3:
        return None
    headers: dict[str, str] = {}
    while line := handler.rfile.readline(8192).decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return RtspRequest(method=words[0], url=words[1], headers=headers)
