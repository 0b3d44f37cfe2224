"""Subscribers outside a platform, which record the events that they get and give prepared answers."""

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from eaves.events import Event, decode
from tests.fakes.threaded_server import serving
from tests.inputs.certificates import Certificate, build_server_context


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """One answer.

    Attributes:
        status: Status of the response.
        content_type: Media type of the body.
        body: Body of the response.
        echo: Answer with the event itself, under another id.
    """

    status: int = 202
    content_type: str = ""
    body: str = ""
    echo: bool = False

    def to_dict(self) -> dict[str, Any]:
        return {"status": self.status, "content_type": self.content_type, "body": self.body, "echo": self.echo}


class Sink(Protocol):
    """One subscriber."""

    @property
    def url(self) -> str:
        """URL at which the platform reaches the sink."""

    @property
    def received(self) -> Sequence[Event]:
        """Every event so far, each attempt."""

    def answer(self, *answers: Reported) -> None:
        """What to answer: the first event the first, and so on; all others the last."""


def of(sink: Sink, subject: str) -> list[Event]:
    """What a sink got about one subject."""
    return [event for event in sink.received if event.subject == subject]


def subjects(sink: Sink) -> set[str | None]:
    """What a sink got something about."""
    return {event.subject for event in sink.received}


@dataclass
class LocalSink:
    """An HTTP server in this process."""

    url: str = ""
    received: list[Event] = field(default_factory=list)
    heads: list[Mapping[str, str]] = field(default_factory=list)
    answers: tuple[Reported, ...] = (Reported(),)
    decide: Callable[[Event], Reported] | None = None
    """In place of `answers`: what only a sink in the test's own process can do."""

    def answer(self, *answers: Reported) -> None:
        self.answers = answers

    def take(self, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Record one event; (status, headers, body) of the answer."""
        self.received.append(decode(headers, body))
        self.heads.append(headers)
        reported = self.answers[min(len(self.received), len(self.answers)) - 1]
        if self.decide is not None:
            reported = self.decide(self.received[-1])
        if reported.echo:
            return 200, echoed(headers, len(self.received)), body
        return (
            reported.status,
            {"Content-Type": reported.content_type} if reported.content_type else {},
            reported.body.encode(),
        )


def echoed(headers: Mapping[str, str], number: int) -> dict[str, str]:
    """An event's own headers, under another id."""
    kept = {name: value for name, value in headers.items() if name.lower().startswith("ce-")}
    kept = {name: f"echo-{number}" if name.lower() == "ce-id" else value for name, value in kept.items()}
    return {**kept, "Content-Type": headers.get("Content-Type", "application/octet-stream")}


@contextmanager
def open_sink(certificate: Certificate | None = None) -> Iterator[LocalSink]:
    """A sink on loopback.

    Args:
        certificate: Certificate of the sink; without one it speaks plain HTTP.
    """
    sink = LocalSink()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, headers, content = sink.take(dict(self.headers.items()), body)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        server.socket = build_server_context(certificate).wrap_socket(server.socket, server_side=True)
    sink.url = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_address[1]}/"
    with serving(server):
        yield sink


def parse_received(document: bytes) -> list[Event]:
    """What a sink somewhere else says it got."""
    return [decode(one["headers"], base64.b64decode(one["body"])) for one in json.loads(document)]
