"""Every route of every HTTP server of the edge: who may ask it, and how much may be sent.

The routes are read from the servers' own maps, so a new route is tested without being named here; a new server fails
`test_every_server_is_known`.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from flask import Flask

import eaves
from eaves.admin import report
from eaves.admin.report import QueueReport
from eaves.events import Event
from eaves.http_client.client import HttpAnswer
from eaves.link import protocol, relay
from eaves.link.settings import FROM_BROKER
from eaves.local.server import AccessToken, PlatformRoutes, WebServer, bind_port
from eaves.local.supervisor import Supervisor
from functions.settings import FunctionSettings
from tests.fakes.models.model import FakeModel, create_app
from tests.integration.mqtt.test_publisher import PublisherProcess
from tests.processes.function import Function
from tests.processes.receiving import TOKEN, receiving
from tests.processes.relaying import RelayProcess
from tests.waiting import wait_until

LARGE = bytes(33_000_000)
"""More than any of them takes."""
FOREIGN = ("evil.example", "127.0.0.1.evil.example:8480", "192.168.1.5", "")
ABSENT: Mapping[str, str] = {}


class StubRuntime:
    """A platform that takes every event, and whose one function answers everything with nothing."""

    def accept(self, event: Event, trace: Mapping[str, str]) -> None:
        """Take it."""

    def forward(self, name: str, headers: dict[str, str], body: bytes) -> HttpAnswer:
        return HttpAnswer(status=202, headers={}, body=b"", latency_ms=0.0)

    @property
    def queue(self) -> StubRuntime:
        return self

    def report(self) -> QueueReport:
        return QueueReport(lanes=(), sources=(), max_bytes=1, dead_max_bytes=1)


RUNTIME = cast(Supervisor, StubRuntime())


@dataclass(frozen=True)
class Route:
    """One route of one server."""

    server: str
    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.server} {self.method} {self.path}"


def list_flask(server: str, app: Flask) -> list[Route]:
    """What an application's map has, with `x` for what a path leaves open, and a path that it hasn't."""
    found = [
        Route(server, method, re.sub(r"<[^>]+>", "x", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]
    return [*found, Route(server, "GET", "/nowhere"), Route(server, "OPTIONS", found[0].path)]


def list_platform(server: str) -> list[Route]:
    """What the local platform's table has, and a path that it hasn't."""
    table = PlatformRoutes(RUNTIME).routes
    found = [Route(server, method, path) for path, methods in table.items() for method in methods]
    return [*found, Route(server, "POST", "/functions/x"), Route(server, "GET", "/nowhere"), Route(server, "PUT", "/")]


def list_module(server: str, module: Any, *more: Route) -> list[Route]:
    """The paths that a module names, each with GET and POST."""
    named = [value for name, value in vars(module).items() if name.isupper() and str(value).startswith("/")]
    return [Route(server, method, path) for path in named for method in ("GET", "POST")] + list(more)


FUNCTION = FunctionSettings(name="digits", host="127.0.0.1")
ROUTES = [
    *list_platform("broker"),
    *list_platform("open broker"),
    *list_flask("function", create_app(FakeModel(), FUNCTION, concurrency=1)),
    *list_module("relay", relay, Route("relay", "POST", "/")),
    Route("publisher", "POST", "/"),
    Route("publisher", "GET", "/nowhere"),
    *list_module("relay's health", report),
    *list_module("publisher's health", report),
    *list_module("receiver", protocol),
    *list_module("receiver's health", report),
]
WITH_TOKEN = ("open broker", "receiver")
PROGRAMS_ONLY = [route for route in ROUTES if route.server not in WITH_TOKEN]
BY_TOKEN = [route for route in ROUTES if route.server in WITH_TOKEN and route.path != protocol.HEALTH]


@dataclass
class Reached:
    """A server that runs.

    Attributes:
        port: Its port.
        tls: What its certificate is trusted by; None for plain HTTP.
        token: What it lets in; empty where it asks for none.
    """

    port: int
    tls: ssl.SSLContext | None = None
    token: str = ""

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] = ABSENT, body: bytes | None = None
    ) -> tuple[int, str, bytes]:
        """Status, content type and body of an answer, asked by the standard library's client."""
        kind: Any = http.client.HTTPConnection if self.tls is None else http.client.HTTPSConnection
        options = {} if self.tls is None else {"context": self.tls}
        connection = kind("127.0.0.1", self.port, timeout=30, **options)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return response.status, response.headers.get("Content-Type", ""), response.read()
        finally:
            connection.close()

    def admitted(self) -> dict[str, str]:
        """Headers that let a request in."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


Servers = Mapping[str, Reached]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("routes")
    for name in ("function", "relay", "publisher", "receiver"):
        (folder / name).mkdir()
    with ExitStack() as stack:
        broker = WebServer(PlatformRoutes(RUNTIME), listening=bind_port("127.0.0.1", 0))
        stack.callback(broker.stop)
        token = AccessToken(folder / "token")
        opened = WebServer(PlatformRoutes(RUNTIME, token=token), listening=bind_port("127.0.0.1", 0))
        stack.callback(opened.stop)
        function = Function(folder / "no artifact", folder / "function")  # it says why it can't load, and serves on
        stack.callback(function.stop)
        relayed = stack.enter_context(RelayProcess(folder / "relay", "https://127.0.0.1:9"))
        publisher = stack.enter_context(PublisherProcess(folder / "publisher", "mqtt://127.0.0.1:9/a"))
        receiver = stack.enter_context(receiving(folder / "receiver"))
        yield {
            "broker": Reached(broker.port),
            "open broker": Reached(opened.port, token=(folder / "token").read_text().strip()),
            "function": Reached(wait_until(function.port, 30, what="the function")),
            "relay": Reached(relayed.port),
            "relay's health": Reached(relayed.health_port),
            "publisher": Reached(publisher.port),
            "publisher's health": Reached(publisher.health_port),
            "receiver": Reached(receiver.port, tls=receiver.tls, token=TOKEN),
            "receiver's health": Reached(receiver.settings.health_port),
        }


def assert_problem(answer: tuple[int, str, bytes], route: Route, *statuses: int) -> str:
    """An answer is a problem document with one of these statuses; its reason."""
    status, content_type, body = answer
    assert status in statuses, (str(route), status, body)
    expected = "application/json" if route.path.startswith("/v2") else "application/problem+json"
    assert content_type == expected, (content_type, body)
    document = json.loads(body)
    assert document["status"] == status
    assert document["detail"]
    return str(document["detail"])


def test_a_host_that_is_not_this_machine_is_refused(servers: Servers):
    for route in PROGRAMS_ONLY:
        for host in FOREIGN:
            answer = servers[route.server].ask(route.method, route.path, {"Host": host})
            assert "Host" in assert_problem(answer, route, 403)


def test_a_page_of_another_site_is_refused(servers: Servers):
    for route in PROGRAMS_ONLY:
        for origin in ("http://evil.example", "null", "https://127.0.0.1.evil.example", "http://[", ""):
            answer = servers[route.server].ask(route.method, route.path, {"Origin": origin})
            assert "Origin" in assert_problem(answer, route, 403)


def test_programs_and_pages_of_this_machine_are_not_refused(servers: Servers):
    for route in PROGRAMS_ONLY:
        server = servers[route.server]
        for headers in (
            ABSENT,
            {"Host": "localhost"},
            {"Host": f"[::1]:{server.port}", "Origin": "http://localhost:3000"},
        ):
            assert server.ask(route.method, route.path, headers)[0] not in (401, 403), route


def test_the_sender_of_a_body_over_the_limit_reads_why_it_is_refused(servers: Servers):
    """Closed at once, the connection would be reset under it before it has read the answer."""
    for route in ROUTES:
        server = servers[route.server]
        answer = server.ask(route.method, route.path, server.admitted(), LARGE)
        # a receiver answers a GET and never reads the body that comes with it
        if answer[0] != 200 or takes_bodies(route):
            assert_problem(answer, route, *((413,) if takes_bodies(route) else (404, 405, 413)))


def takes_bodies(route: Route) -> bool:
    """Whether a route is there and reads a body."""
    own = {"receiver": (protocol.EVENTS,), "relay": ("/", FROM_BROKER), "publisher": ("/",)}
    return route.method == "POST" and (route.server not in own or route.path in own[route.server])


def test_without_the_token_nothing_is_answered_off_loopback(servers: Servers):
    for route in BY_TOKEN:
        server = servers[route.server]
        for headers in (
            ABSENT,
            {"Authorization": "Bearer "},
            {"Authorization": f"Bearer {server.token}x"},
            {"Authorization": f"Basic {server.token}"},
            {"Authorization": server.token},
            {"Host": "localhost"},
        ):
            assert_problem(server.ask(route.method, route.path, headers), route, 401)
        assert_problem(server.ask(route.method, route.path, ABSENT, LARGE[:30_000_000]), route, 401)


def test_without_the_token_a_body_is_not_waited_for(servers: Servers):
    """What is promised and not sent takes no memory and no thread."""
    head = b"POST / HTTP/1.1\r\nHost: eaves.lan\r\nContent-Length: 1000000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", servers["open broker"].port), timeout=10) as stranger:
        stranger.sendall(head)
        assert stranger.recv(1000).startswith(b"HTTP/1.1 401 ")


def test_with_the_token_a_request_is_let_in_by_whatever_name(servers: Servers):
    for route in BY_TOKEN:
        server = servers[route.server]
        for host in ("eaves.lan:8481", "192.168.1.5", "localhost"):
            headers = {**server.admitted(), "Host": host}
            assert server.ask(route.method, route.path, headers)[0] not in (401, 403), route


def test_off_loopback_a_page_of_another_site_is_refused_even_with_the_token(servers: Servers):
    server = servers["open broker"]
    here = {**server.admitted(), "Host": "eaves.lan:8481"}
    for route in list_platform("open broker"):
        for origin in ("http://evil.example", "null", "http://localhost"):
            answer = server.ask(route.method, route.path, {**here, "Origin": origin})
            assert_problem(answer, route, 403)
        headers = {**here, "Origin": "http://eaves.lan:8481"}
        assert server.ask(route.method, route.path, headers)[0] not in (401, 403), route


SERVERS = {
    "eaves/admin/server.py": "asked here by way of relay, publisher and receiver",
    "eaves/console/app.py": "its routes are asked in unit/console",
    "eaves/local/console_manager.py": "opens the console's port, see local/console.py",
    "eaves/ingress/server.py": "asked here by way of relay, publisher and receiver",
    "eaves/local/server.py": "asked here; its Unix socket has mode 0600, see local/test_web.py",
    "functions/routes.py": "its routes are asked here",
    "functions/start.py": "opens the function's port, see functions/test_process.py",
    "functions/server.py": "asked here",
}
"""What listens or has routes, and where it is tested."""
LISTENS = re.compile(
    r"\bFlask\(\"|\bcreate_server\(|\bTcpListener\b|\b(?:TCP|HTTP|ThreadingHTTP|TcpWSGI|Ingress)Server\)|\.listen\("
)


def test_every_server_is_known():
    root = Path(eaves.__file__).parents[1]
    folders = ("eaves", "functions", "trainer", "converters", "knative")
    files = [path for folder in folders for path in (root / folder).rglob("*.py")]
    found = {str(path.relative_to(root)) for path in files if LISTENS.search(path.read_text())}
    assert found == set(SERVERS)
