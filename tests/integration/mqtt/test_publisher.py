"""`python -P -m eaves.link.publisher` as a process: events over HTTP in, messages to a real broker out."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from eaves.events import Event, encode_binary, encode_structured
from tests.ports import find_ports
from tests.processes.mosquitto import KEEPING_ALL, Mosquitto, run_mosquitto
from tests.processes.publishing import prediction
from tests.processes.subscriber import subscribed
from tests.waiting import wait_until


class PublisherProcess:
    """One publisher."""

    def __init__(self, folder: Path, url: str, **environ: str) -> None:
        self.log = folder / "publisher.log"
        self.port, self.health_port = find_ports(2)
        self.environ = {
            "PATH": os.environ["PATH"],
            "EAVES_URL": url,
            "EAVES_APP": "flowers",
            "EAVES_SITE": "home",
            "EAVES_SPOOL": str(folder / "publisher.db"),
            "EAVES_HEALTH_PORT": str(self.health_port),
            "PORT": str(self.port),
            **environ,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = [sys.executable, "-P", "-m", "eaves.link.publisher"]
            self._process = subprocess.Popen(command, env=self.environ, stdout=log, stderr=log)
        wait_until(self._is_live, 30, what="the publisher")

    def end(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Send a signal; seconds until it has ended."""
        began = time.monotonic()
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None
        return time.monotonic() - began

    def post(self, event: Event, *, structured: bool = False) -> int:
        headers, body = (encode_structured if structured else encode_binary)(event)
        return self.send(headers, body)[0]

    def send(self, headers: dict[str, str], body: Any, *, method: str = "POST", path: str = "/") -> tuple[int, bytes]:
        return _ask(self.port, method, path, headers, body)

    def get(self, path: str) -> tuple[int, str]:
        status, body = _ask(self.health_port, "GET", path, {}, None)
        return status, body.decode()

    def lane(self) -> dict[str, Any]:
        report = json.loads(self.get("/health")[1])["report"]
        found: dict[str, Any] = next((lane for lane in report["lanes"] if lane["lane"] == "sink"), {})
        return found

    def _is_live(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        try:
            return self.get("/health/liveness")[0] == 200
        except OSError:
            return False


def _ask(port: int, method: str, path: str, headers: dict[str, str], body: Any) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@contextmanager
def running(folder: Path, url: str, **environ: str) -> Iterator[PublisherProcess]:
    made = PublisherProcess(folder, url, **environ)
    made.start()
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with run_mosquitto(tmp_path / "broker", KEEPING_ALL) as started:
        yield started


def test_an_event_over_http_becomes_a_message(broker: Mosquitto, tmp_path: Path) -> None:
    with (
        subscribed(broker.port, "plant/#") as subscriber,
        running(tmp_path, f"{broker.url}/plant/{{label}}", EAVES_MQTT_FORMAT="json") as publisher,
    ):
        assert publisher.post(prediction(1)) == 202
        assert publisher.post(prediction(2, label="tulip"), structured=True) == 202
        assert publisher.post(prediction(1)) == 202  # its sender has not seen the answer, say
        subscriber.wait_for(2)
        wait_until(lambda: not publisher.lane()["queued"], what="an empty queue")
        assert publisher.lane()["attempts"]["delivered"] == 2
        assert 'eaves_deliveries_total{lane="sink",outcome="delivered"} 2' in publisher.get("/metrics")[1]
        assert publisher.get("/health")[0] == 200
        assert {message.topic for message in subscriber.got} == {"plant/rose", "plant/tulip"}


def test_a_full_queue_is_the_senders_to_keep(tmp_path: Path) -> None:
    small = {"EAVES_SPOOL_MAX_BYTES": "1000000", "EAVES_MAX_BYTES": "900000"}
    with running(tmp_path, "mqtt://127.0.0.1:9/a", **small) as publisher:
        large = json.dumps({"x": "y" * 400_000}).encode()
        assert [publisher.post(prediction(number, data=large)) for number in range(3)] == [202, 202, 429]
        # a connection that is refused is reported once it was tried
        wait_until(lambda: publisher.get("/health")[0] == 503, what="a report of the broker that is away")
        assert "can't connect to the broker" in publisher.get("/health")[1]
        assert publisher.get("/health/liveness")[0] == 200


def test_what_was_taken_survives_a_kill_and_a_broker_that_is_away(broker: Mosquitto, tmp_path: Path) -> None:
    with subscribed(broker.port, "plant") as subscriber, running(tmp_path, f"{broker.url}/plant") as publisher:
        broker.kill()
        assert [publisher.post(prediction(number)) for number in range(20)] == [202] * 20
        publisher.end(signal.SIGKILL)
        publisher.start()
        broker.start()
        wait_until(lambda: len(subscriber.ids()) == 20, 30, what="all of them")


def test_it_ends_in_time_though_the_broker_is_frozen(broker: Mosquitto, tmp_path: Path) -> None:
    with (
        subscribed(broker.port, "plant") as subscriber,
        running(tmp_path, f"{broker.url}/plant", EAVES_MQTT_HOME_ASSISTANT="true") as publisher,
    ):
        publisher.post(prediction(1))
        subscriber.wait_for(1)
        broker.signal(signal.SIGSTOP)
        publisher.post(prediction(2))
        took_s = publisher.end()
        broker.signal(signal.SIGCONT)
    assert took_s < 3


def test_sensors_are_unavailable_once_it_was_killed(broker: Mosquitto, tmp_path: Path) -> None:
    with (
        subscribed(broker.port, "eaves/home/flowers/availability") as subscriber,
        running(tmp_path, f"{broker.url}/plant", EAVES_MQTT_HOME_ASSISTANT="true") as publisher,
    ):
        assert subscriber.wait_for(1)[0].payload == b"online"
        publisher.end(signal.SIGKILL)
        assert subscriber.wait_for(2)[1].payload == b"offline"
        publisher.start()
        assert subscriber.wait_for(3)[2].payload == b"online"
