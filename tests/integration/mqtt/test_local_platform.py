"""`eaves up` with triggers that publish to a real broker."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eaves.events import IMAGE_CLASSIFIED, Event, encode_binary
from eaves.local.state import LocalApp, LocalFunction
from eaves.platform import MqttSection, TriggerSpec
from tests.contract.harness import LocalHarness, open_local_harness, status_of
from tests.processes.mosquitto import KEEPING_ALL, Mosquitto, run_mosquitto
from tests.processes.publishing import prediction
from tests.processes.subscriber import subscribed
from tests.waiting import wait_until


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with run_mosquitto(tmp_path / "broker", KEEPING_ALL) as running:
        yield running


@pytest.fixture
def harness() -> Iterator[LocalHarness]:
    with open_local_harness() as made:
        yield made


def trigger(url: str, name: str = "hub", **settings: Any) -> TriggerSpec:
    return TriggerSpec(name=name, filter={"type": IMAGE_CLASSIFIED}, url=url, mqtt=MqttSection(**settings))


def app(*triggers: TriggerSpec) -> LocalApp:
    """One whose function is never needed."""
    return LocalApp(function=LocalFunction(name="flowers", site="home", artifact=Path("/none")), triggers=triggers)


def publish(harness: LocalHarness, *events: Event) -> None:
    address = next(line for line in harness.log().splitlines()[::-1] if line.startswith("http://"))
    connection = http.client.HTTPConnection(address.removeprefix("http://").rstrip("/"), timeout=10)
    try:
        for event in events:
            headers, body = encode_binary(event)
            connection.request("POST", "/", body, headers)
            response = connection.getresponse()
            response.read()
            assert response.status == 202
    finally:
        connection.close()


def test_predictions_are_published_and_nothing_comes_back(harness: LocalHarness, broker: Mosquitto) -> None:
    with subscribed(broker.port, "plant/#") as subscriber:
        harness.deploy(app(trigger(f"{broker.url}/plant/{{label}}")))
        publish(harness, prediction(1), prediction(2, label="tulip"))
        got = subscriber.wait_for(2)
        wait_until(lambda: status_of(harness.platform).queued == 0, what="two deliveries")

    assert {message.topic for message in got} == {"plant/rose", "plant/tulip"}


def test_each_trigger_has_a_connection_that_ends_with_it(harness: LocalHarness, broker: Mosquitto) -> None:
    with subscribed(broker.port, "a", "b") as subscriber:
        harness.deploy(app(trigger(f"{broker.url}/a", "one"), trigger(f"{broker.url}/b", "two")))
        publish(harness, prediction(1))
        subscriber.wait_for(2)
        assert _connections(broker) == 2
        harness.platform.remove("flowers")
        wait_until(lambda: _ends(broker), 20, what="its end")


def _connections(broker: Mosquitto) -> int:
    return broker.log.read_text().count(" as eaves-home-flowers-")


def _ends(broker: Mosquitto) -> bool:
    return any("eaves-home-flowers-" in line and "disconnected" in line for line in broker.log.read_text().splitlines())
