"""A store on loopback that a function fetches images from."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.fakes.http.server import Asked, FakeServer, open_server, respond
from tests.inputs.certificates import Certificate, build_server_context

HOST = "store.example"
GONE = b"<?xml version='1.0'?><Error>\n  <Code>NoSuchKey</Code>\n</Error>"
"""Body of S3's answer about an object that doesn't exist."""
S3: dict[str, Any] = {"X_Amz_Request_Id": "4442587FB7D0A2F9"}
"""Header of every answer of S3."""


class Store:
    """A store that answers each path as a test says.

    Attributes:
        answers: Answers by path.
        gone: Answer for other paths.
        hijack: Answer of what is there instead of the store; None: the store is there.
    """

    def __init__(self, server: FakeServer) -> None:
        self.answers: dict[str, bytes | Callable[[], Iterable[bytes]]] = {}
        self.gone = answer(GONE, 404, Content_Type="application/xml", **S3)
        self.hijack: bytes | None = None
        self.server, self.port = server, int(server.url.rpartition(":")[2])
        server.answer = self._answer

    @property
    def seen(self) -> list[str]:
        return [asked.target for asked in self.server.asked]

    def url(self, path: str, *, host: str = HOST) -> str:
        return f"{self.server.url.partition(':')[0]}://{host}:{self.port}{path}"

    def _answer(self, asked: Asked) -> bytes | Iterable[bytes]:
        given = self.hijack or self.answers.get(asked.target.partition("?")[0], self.gone)
        return given if isinstance(given, bytes) else given()


@contextmanager
def open_store(certificate: Certificate | None = None) -> Iterator[Store]:
    context = build_server_context(certificate) if certificate else None
    with open_server(lambda _: b"", context=context) as server:
        yield Store(server)


def answer(body: bytes = b"", status: int = 200, *, length: int | None = None, **headers: str) -> bytes:
    return respond(status, body, length=length, **{"Content_Type": "image/png", **headers})
