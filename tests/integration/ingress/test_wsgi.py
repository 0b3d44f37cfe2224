"""A WSGI application behind the ingress server."""

import contextlib
import gzip
import http.client
import json
import logging
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from flask import Flask, Response, request

from eaves.errors import OverloadedError
from eaves.ingress import IngressLimits, IngressServer
from eaves.ingress.wsgi import ADMIT, WsgiGateway

MAX_BYTES, STRANGER_BYTES = 100_000, 1_000
TEXT = "<p>text</p>" * 1_000


def create_app() -> Flask:
    """An app that shows what it gets."""
    app = Flask(__name__)
    app.config["PROPAGATE_EXCEPTIONS"] = True

    @app.route("/environ", methods=["GET", "POST", "OPTIONS"])
    def show() -> dict[str, Any]:
        return {name: value for name, value in request.environ.items() if isinstance(value, str)}

    @app.post("/size")
    def size() -> str:
        if "X-Known" in request.headers:
            request.environ[ADMIT]()
        return f"{len(request.get_data())}"

    @app.post("/form")
    def form() -> str:
        return request.form["name"]

    @app.get("/text")
    def text() -> Response:
        made = Response(TEXT)
        made.add_etag()
        made.set_cookie("one", "1")
        made.set_cookie("two", "2")
        made.make_conditional(request)
        return made

    @app.get("/image")
    def image() -> Response:
        return Response(b"\xff" * 5_000, content_type="image/jpeg")

    @app.get("/fault/<kind>")
    def fail(kind: str) -> str:
        raise OverloadedError("the <platform> is busy") if kind == "ours" else RuntimeError("secret detail")

    return app


@contextlib.contextmanager
def serving(app: Callable[..., Iterable[bytes]], *, admits: bool = True) -> Iterator[IngressServer]:
    def admit(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if admits:
            environ[ADMIT]()
        return app(environ, start_response)

    gateway = WsgiGateway(admit, scheme="http", max_bytes=MAX_BYTES, stranger_bytes=STRANGER_BYTES)
    limits = IngressLimits(max_bytes=MAX_BYTES, in_flight_bytes=MAX_BYTES)
    server = IngressServer(gateway, limits=limits, host="127.0.0.1")
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def server() -> Iterator[IngressServer]:
    with serving(create_app()) as made:
        yield made


class Answer:
    """A response: its status, headers and body."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()


def ask(server: IngressServer, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        return Answer(connection.getresponse())
    finally:
        connection.close()


def send(server: IngressServer, head: str) -> bytes:
    """Send a head as it is; return the whole answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head.encode("latin-1"))
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def read_environ(server: IngressServer, head: str) -> dict[str, str]:
    answer = send(server, head)
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    found: dict[str, str] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return found


def test_the_environment_is_that_of_the_request(server: IngressServer):
    found = read_environ(
        server,
        "GET /environ?a=%20b&c HTTP/1.1\r\nHost: box.example:8481\r\nCookie: a=1\r\nCookie: b=2\r\n"
        "X-Two: 1\r\nX-Two: 2\r\nContent-Type: text/plain\r\nConnection: close, X-Two\r\nTE: trailers\r\n\r\n",
    )
    expected = {
        "REQUEST_METHOD": "GET", "PATH_INFO": "/environ", "QUERY_STRING": "a=%20b&c", "HTTP_HOST": "box.example:8481",
        "SERVER_NAME": "box.example", "SERVER_PORT": "8481", "REMOTE_ADDR": "127.0.0.1", "wsgi.url_scheme": "http",
        "HTTP_COOKIE": "a=1; b=2", "HTTP_X_TWO": "1,2", "CONTENT_TYPE": "text/plain", "SERVER_PROTOCOL": "HTTP/1.1",
    }  # fmt: skip
    assert {name: found.get(name) for name in expected} == expected
    assert not {"HTTP_CONNECTION", "HTTP_TE", "HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & set(found)


HEADS: list[tuple[str, str, str | None]] = [
    ("GET /environ HTTP/1.1\r\nHost: a\r\nProxy: http://evil\r\n\r\n", "HTTP_PROXY", None),
    ("GET /environ HTTP/1.1\r\nHost: a\r\nX_Forwarded: 1\r\n\r\n", "HTTP_X_FORWARDED", None),
    ("GET http://real/environ HTTP/1.1\r\nHost: other\r\n\r\n", "HTTP_HOST", "real"),
    ("GET /environ HTTP/1.0\r\n\r\n", "SERVER_NAME", "localhost"),
    ("GET //environ HTTP/1.1\r\nHost: a\r\n\r\n", "PATH_INFO", "/environ"),
]


def test_a_header_never_becomes_another_one(server: IngressServer):
    for head, name, value in HEADS:
        assert read_environ(server, head).get(name) == value


HOSTILE = [
    ("GET environ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /%00%ff HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    ("GET /environ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("POST /size HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("POST /size HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n1", 400),
    ("GET /environ HTTP/1.1\r\nHost: a\r\n" + "X: a\r\n" * 101 + "\r\n", 431),
    (f"GET /{'x' * 9_000} HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    ("GET /environ HTTP/3.0\r\nHost: a\r\n\r\n", 505),
    ("\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
]


def test_a_hostile_head_is_refused(server: IngressServer):
    for head, status in HOSTILE:
        answer = send(server, head)
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_is_read_by_the_application_within_limits(server: IngressServer, chunked: bool):
    def body(size: int) -> Any:
        return iter([b"x" * 1_000] * (size // 1_000)) if chunked else b"x" * size

    assert ask(server, "POST", "/size", body(MAX_BYTES)).body == b"100000"
    assert ask(server, "POST", "/size", body(MAX_BYTES + 1_000)).status == 413
    packed = gzip.compress(b"name=value&x=" + b"y" * 50_000)
    kind = "application/x-www-form-urlencoded"
    assert ask(server, "POST", "/form", packed, Content_Type=kind, Content_Encoding="gzip").body == b"value"


def test_a_caller_that_is_not_accepted_sends_little(server: IngressServer):
    with serving(create_app(), admits=False) as strict:
        assert ask(strict, "POST", "/size", b"x" * STRANGER_BYTES).status == 200
        refused = ask(strict, "POST", "/size", b"x" * (STRANGER_BYTES + 1))
        assert (refused.status, refused.headers["Connection"]) == (413, "close")
        assert ask(strict, "POST", "/size", b"x" * MAX_BYTES, X_Known="1").body == b"100000"
        assert ask(strict, "GET", "/text").headers["Connection"] == "close"
    assert ask(server, "GET", "/text").headers["Connection"] is None


def test_head_has_the_headers_of_get_and_no_body(server: IngressServer):
    answer = send(server, "HEAD /text HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n")
    assert b"\r\nContent-Length: %d\r\n" % len(TEXT) in answer


def test_an_error_becomes_a_problem_document_without_details(server: IngressServer, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.ERROR)
    ours, fault = ask(server, "GET", "/fault/ours"), ask(server, "GET", "/fault/other")
    assert (ours.status, fault.status) == (429, 500)
    assert json.loads(ours.body)["detail"] == "the <platform> is busy"
    assert b"secret" not in fault.body
    assert "secret detail" in caplog.text
    assert ask(server, "GET", "/text").status == 200


def test_an_application_without_flask_is_served_and_closed():
    closed = []

    class Parts(list[bytes]):
        def close(self) -> None:
            closed.append(True)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("X-Own", "a"), ("Transfer-Encoding", "chunked")])(b"1")
        return Parts([b"2", environ["wsgi.input"].readline() + environ["wsgi.input"].read()])

    with serving(app) as server:
        answer = ask(server, "POST", "/", b"3\n4")
        assert (answer.body, closed) == (b"123\n4", [True])
        assert (answer.headers["X-Own"], answer.headers["Transfer-Encoding"]) == ("a", None)
