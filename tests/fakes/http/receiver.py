"""A receiver over real HTTPS that answers as a test tells it: the other end of a relay's link."""

import gzip
import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from eaves.errors import EventError
from eaves.event_batch import MEDIA_TYPE, decode_batch
from eaves.events import Event, decode
from eaves.link.protocol import EVENTS, FUNCTIONS, LEDGER, PARTS, SITE, UPLOAD, BatchAnswer, RefusedEvent
from tests.inputs.certificates import build_server_context, make_certificate

TOKEN = "of-the-site"


@dataclass(frozen=True)
class Reply:
    """What is answered, in place of what a receiver answers.

    Attributes:
        status: HTTP status.
        body: The body.
        headers: More headers.
        cut_after: Send so many bytes of the body only, and end the connection; None sends all.
        store: Whether the events are stored all the same: an answer that is lost.
        silent: Whether nothing is answered for as long as the test runs.
        refused: Statuses of events that are refused, by their ids, in an answer that counts all others as stored.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    store: bool = False
    silent: bool = False
    refused: Mapping[str, int] | None = None


Script = Callable[[list[Event]], Reply | None]
"""Gives what a request of these events is answered; None: what a receiver answers."""


class FakeReceiver:
    """One receiver.

    Attributes:
        url: Its address.
        site: The site that it takes the caller for.
        token: The token that it lets in.
        received: Events in the order in which they were stored first.
        requests: Events of each request, as they came, stored or not.
        repeated: Events that came again.
        sizes: Bytes of each request's body.
        connections: Connections that were made.
        script: What is answered in place of what a receiver answers.
        parts: Bodies that come in parts, by their digest.
        part_requests: Offset and number of bytes of each part.
        calls: `probe`, `part` and `send` in the order in which they came.
        part_reply: What a part is answered in place of what a receiver answers.
        site_reply: What `/v1/site` answers in place of the site.
    """

    def __init__(self, context: ssl.SSLContext | None, *, port: int = 0) -> None:
        self.site = "north"
        self.token = TOKEN
        self.received: list[Event] = []
        self.requests: list[list[Event]] = []
        self.repeated: list[Event] = []
        self.sizes: list[int] = []
        self.connections: set[tuple[str, int]] = set()
        self.script: Script = lambda events: None
        self.site_reply: Callable[[], Reply | None] = lambda: None
        self.parts: dict[str, bytearray] = {}
        self.part_requests: list[tuple[int, int]] = []
        self.calls: list[str] = []
        self.part_reply: Callable[[], Reply | None] = lambda: None
        self.released = threading.Event()
        self._known: dict[tuple[str, str], bytes] = {}
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"receiver": self})
        self._server = _Server(("127.0.0.1", port), handler)
        if context is not None:
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = int(self._server.server_address[1])
        self.url = f"{'http' if context is None else 'https'}://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def ids(self) -> list[str]:
        with self._lock:
            return [event.id for event in self.received]

    def stop(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def store(self, events: list[Event], refused: Mapping[str, int]) -> BatchAnswer:
        stored, refusals = 0, []
        with self._lock:
            for index, event in enumerate(events):
                if event.id in refused:
                    refusals.append(RefusedEvent(index=index, status=refused[event.id], detail="not yours"))
                    continue
                key = event.source, event.id
                if key in self._known:
                    self.repeated.append(event)
                else:
                    self._known[key] = event.data
                    self.received.append(event)
                    stored += 1
        repeated = len(events) - stored - len(refusals)
        return BatchAnswer(stored=stored, repeated=repeated, refused=tuple(refusals))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The other side may end a connection at any time."""


class _Handler(BaseHTTPRequestHandler):
    receiver: ClassVar[FakeReceiver]
    protocol_version = "HTTP/1.1"
    timeout = 30
    wbufsize = 1 << 16

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_GET(self) -> None:
        self._note()
        path = self.path.partition("?")[0]
        if path == SITE:
            self.receiver.calls.append("probe")
            if (reply := self.receiver.site_reply()) is not None:
                self._reply(reply)
            elif self._let_in():
                self._reply(_json({"site": self.receiver.site}))
        elif path == LEDGER and self._let_in():
            lines = [json.dumps({"number": number, "id": one}) for number, one in enumerate(self.receiver.ids(), 1)]
            self._reply(Reply(body="\n".join(lines).encode()))

    def do_POST(self) -> None:
        self._note()
        body = self.rfile.read(int(self.headers["content-length"]))
        if not self._let_in():
            return
        if self.path.startswith(FUNCTIONS):
            self._reply(Reply(body=body, headers={"Content-Type": "application/json"}))
            return
        if self.path.startswith(PARTS):
            self._take_part(body)
            return
        assert self.path == EVENTS
        self.receiver.calls.append("send")
        uploaded = self.headers.get(UPLOAD)
        if uploaded:
            body = bytes(self.receiver.parts.get(uploaded, b""))
            if hashlib.sha256(body).hexdigest() != uploaded:
                self._reply(_json({"detail": "not here"}, 412))
                return
        events = self._events(body)
        self.receiver.requests.append(events)
        self.receiver.sizes.append(len(body))
        reply = self.receiver.script(events)
        if reply is None or reply.refused is not None or reply.store:
            answer = self.receiver.store(events, (reply.refused if reply else None) or {})
            reply = reply if reply and reply.store else Reply(body=encode_answer(answer))
        self._reply(reply)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""

    def _take_part(self, part: bytes) -> None:
        parts = urlsplit(self.path)
        offset = int(parse_qs(parts.query)["offset"][0])
        self.receiver.calls.append("part")
        self.receiver.part_requests.append((offset, len(part)))
        reply = self.receiver.part_reply()
        if reply is not None and not reply.store:
            self._reply(reply)
            return
        there = self.receiver.parts.setdefault(parts.path.removeprefix(PARTS), bytearray())
        if offset == len(there):
            there += part
        self._reply(reply or _json({"received": len(there)}))

    def _note(self) -> None:
        self.receiver.connections.add(self.client_address[:2])

    def _let_in(self) -> bool:
        if self.headers.get("authorization") == f"Bearer {self.receiver.token}":
            return True
        self._reply(_json({"title": "Error", "status": 401, "detail": "no site has this token"}, 401))
        return False

    def _events(self, body: bytes) -> list[Event]:
        if self.headers["content-type"] != MEDIA_TYPE:
            return [decode(dict(self.headers.items()), body)]
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        found = decode_batch(body)
        assert not any(isinstance(one, EventError) for one in found)
        return [one for one in found if isinstance(one, Event)]

    def _reply(self, reply: Reply) -> None:
        if reply.silent:
            self.receiver.released.wait(60)
            return
        self.send_response(reply.status)
        self.send_header("Content-Length", str(len(reply.body)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if reply.cut_after is None:
            self.wfile.write(reply.body)
            return
        self.wfile.write(reply.body[: reply.cut_after])
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def encode_answer(answer: BatchAnswer) -> bytes:
    return json.dumps(asdict(answer)).encode()


def _json(value: Any, status: int = 200) -> Reply:
    return Reply(status=status, body=json.dumps(value).encode(), headers={"Content-Type": "application/json"})


@contextmanager
def receiving(folder: Path, *, tls: bool = True, port: int = 0) -> Iterator[FakeReceiver]:
    """A receiver with a certificate of its own authority; `folder` becomes the credentials that it lets in."""
    folder.mkdir(exist_ok=True)
    context = None
    if tls:
        certificate = make_certificate(folder / "server")
        (folder / "ca.crt").write_bytes(certificate[0].read_bytes())
        context = build_server_context(certificate)
    (folder / "token").write_text(TOKEN + "\n")
    receiver = FakeReceiver(context, port=port)
    try:
        yield receiver
    finally:
        receiver.stop()
