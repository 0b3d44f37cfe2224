"""The local broker over HTTP, from a producer's request to a subscriber's."""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import cast

import pytest

from eaves.admin.queue import SpoolQueue
from eaves.delivery import SinkClient, SinkResponse
from eaves.events import Event, encode_binary
from eaves.history import FileHistory
from eaves.local.broker import Broker, Subscription, lane_of
from eaves.local.routes import SupervisorView, create_app
from eaves.local.server import TcpPort, WebServer
from eaves.platform import TriggerSpec
from eaves.spool import Spool
from tests.fakes.console.absent import AbsentConsole
from tests.waiting import wait_until

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
EVENT = Event(
    id="1",
    source="/s",
    type="t",
    time="2026-06-30T23:59:60.123456789z",
    extensions={"traceparent": PARENT.replace("01", "00")},
)


class Subscriber(BaseHTTPRequestHandler):
    """Keeps the headers of each request."""

    got: list[dict[str, str]]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Say nothing."""


class BrokerRuntime(AbsentConsole):
    """A platform that has a broker and nothing else."""

    def __init__(self, broker: Broker, spool: Spool) -> None:
        self._broker = broker
        self.queue = SpoolQueue(spool, deliveries=broker.deliveries)

    def accept(self, event: Event, trace: Mapping[str, str]) -> None:
        """Hand it to the broker."""
        self._broker.accept(event, trace)


@pytest.fixture
def subscriber() -> Iterator[tuple[str, Sequence[dict[str, str]]]]:
    got: list[dict[str, str]] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Subscriber,), {"got": got})) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/", got
        server.shutdown()
        thread.join()


@pytest.fixture
def port(subscriber: tuple[str, Sequence[dict[str, str]]], tmp_path: Path) -> Iterator[int]:
    client, trigger = SinkClient(), TriggerSpec(name="out", url=subscriber[0])

    def send(event: Event, headers: Mapping[str, str]) -> SinkResponse:
        return client.post(trigger.url, event, prefer_reply=True, timeout_s=10, more_headers=headers)

    with Spool(tmp_path / "spool.db") as spool:
        history = FileHistory(tmp_path / "history.db")
        broker = Broker(spool, history.add)
        broker.subscribe({lane_of("app", "out"): Subscription(app="app", trigger=trigger, send=send, parallel=1)})
        server = WebServer(create_app(cast(SupervisorView, BrokerRuntime(broker, spool))), made := TcpPort(0))
        yield made.port
        server.stop()
        broker.stop()
        history.close()
    client.close()


def ask(port: int, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_the_trace_of_a_request_reaches_the_subscriber_and_the_event_leaves_as_it_came(
    port: int, subscriber: tuple[str, Sequence[dict[str, str]]]
) -> None:
    headers, body = encode_binary(EVENT)
    status, _ = ask(port, "POST", "/", {**headers, "traceparent": PARENT, "tracestate": "a=b"}, body)
    assert status == 202
    wait_until(lambda: subscriber[1])
    (got,) = subscriber[1]
    assert (got["traceparent"], got["tracestate"]) == (PARENT, "a=b")
    sent = {name.lower(): value for name, value in headers.items() if name.lower().startswith("ce-")}
    assert {name: value for name, value in got.items() if name.startswith("ce-")} == sent


def test_a_trace_that_is_none_is_not_carried(port: int, subscriber: tuple[str, Sequence[dict[str, str]]]) -> None:
    headers, body = encode_binary(EVENT)
    ask(port, "POST", "/", {**headers, "traceparent": "00-nonsense"}, body)
    wait_until(lambda: subscriber[1])
    assert "traceparent" not in subscriber[1][0]


@pytest.mark.parametrize(("value", "status"), [("2147483647", 202), ("2147483648", 400), ("-2147483649", 400)])
def test_a_number_of_json_beyond_32_bits_is_refused(port: int, value: str, status: int) -> None:
    """Source: sdk-java's vector fail_numeric_long.json."""
    body = f'{{"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "level": {value}}}'.encode()
    assert ask(port, "POST", "/", {"Content-Type": "application/cloudevents+json"}, body)[0] == status


def test_the_broker_has_metrics_of_its_queue(port: int, subscriber: tuple[str, Sequence[dict[str, str]]]) -> None:
    headers, body = encode_binary(EVENT)
    ask(port, "POST", "/", headers, body)
    delivered = 'eaves_deliveries_total{lane="trigger/app/out",outcome="delivered"} 1'
    wait_until(lambda: delivered in ask(port, "GET", "/metrics", {})[1], what="the delivery among the metrics")
