"""What Home Assistant finds at a real broker: sensors, kept up to date, and unavailable when nobody does it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.inputs.home_assistant import DISCOVERY_TOPIC, SENSOR
from tests.processes.mosquitto import Mosquitto, run_mosquitto
from tests.processes.publishing import prediction, publishing
from tests.processes.subscriber import Subscriber, subscribed
from tests.waiting import wait_until

STATE = "eaves/home/flowers/gate/state"
AVAILABILITY = "eaves/home/flowers/availability"
LABEL = "homeassistant/sensor/eaves_home_flowers_gate_label/config"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """It forgets everything when it is killed."""
    with run_mosquitto(tmp_path / "broker") as running:
        yield running


def last(subscriber: Subscriber, topic: str) -> Any:
    """The newest payload of a topic, None before the first."""
    messages = subscriber.on(topic)
    if not messages:
        return None
    try:
        return json.loads(messages[-1].payload)
    except ValueError:
        return messages[-1].payload.decode()


def test_sensors_are_found_by_a_home_assistant_that_starts_later(broker: Mosquitto, tmp_path: Path) -> None:
    with publishing(tmp_path, f"{broker.url}/plant/{{label}}", home_assistant=True) as out:
        out.put(prediction(1), prediction(2, camera="hall", label="tulip"))
        out.wait_until_empty()
        with subscribed(broker.port, "homeassistant/#", "eaves/#") as subscriber:
            messages = subscriber.wait_for(7)

    assert all(message.retain for message in messages)
    discovery = [message for message in messages if message.topic.startswith("homeassistant/")]
    assert len(discovery) == 4
    for message in discovery:
        assert DISCOVERY_TOPIC.fullmatch(message.topic)
        jsonschema.Draft202012Validator(SENSOR).validate(message.json())
    topics = {message.json()["state_topic"] for message in discovery}
    assert topics == {STATE, "eaves/home/flowers/hall/state"}
    states = {message.topic: message.json() for message in messages if message.topic in topics}
    assert (states[STATE]["label"], states[STATE]["confidence"]) == ("rose", 97.0)
    assert states["eaves/home/flowers/hall/state"]["label"] == "tulip"
    assert last(subscriber, AVAILABILITY) == "online"


def test_a_home_assistant_that_starts_later_gets_everything_from_the_broker(broker: Mosquitto, tmp_path: Path) -> None:
    with publishing(tmp_path, f"{broker.url}/plant", home_assistant=True) as out:
        out.put(prediction(1))
        out.wait_until_empty()
    with subscribed(broker.port, "homeassistant/sensor/#", STATE) as subscriber:
        assert len(subscriber.wait_for(3)) == 3


def test_everything_is_reported_again_to_a_broker_that_forgot_it(broker: Mosquitto, tmp_path: Path) -> None:
    with publishing(tmp_path, f"{broker.url}/plant", home_assistant=True) as out:
        out.put(prediction(1))
        out.wait_until_empty()
        broker.kill()
        broker.start()
        with subscribed(broker.port, "homeassistant/sensor/#", STATE, AVAILABILITY) as subscriber:
            wait_until(lambda: last(subscriber, LABEL) and last(subscriber, STATE), 20, what="the sensors")
            wait_until(lambda: last(subscriber, AVAILABILITY) == "online", what="availability")


def test_an_older_connections_will_is_corrected(broker: Mosquitto, tmp_path: Path) -> None:
    with (
        subscribed(broker.port, AVAILABILITY) as subscriber,
        publishing(tmp_path, f"{broker.url}/plant", home_assistant=True),
    ):
        wait_until(lambda: last(subscriber, AVAILABILITY) == "online", what="online")
        subscriber.publish(AVAILABILITY, b"offline", retain=True)
        wait_until(lambda: len(subscriber.on(AVAILABILITY)) >= 3, what="the correction")
        assert last(subscriber, AVAILABILITY) == "online"


def test_a_home_assistant_that_may_not_be_reported_keeps_the_prediction_and_says_so(tmp_path: Path) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic read #\ntopic write plant\ntopic write eaves/#\n")
    with (
        run_mosquitto(tmp_path / "broker", [f"acl_file {rules}"]) as broker,
        subscribed(broker.port, "plant") as subscriber,
        publishing(tmp_path, f"{broker.url}/plant", home_assistant=True) as out,
    ):
        out.put(prediction(1))
        reason = wait_until(out.reason, what="the reason")
        attempts = len(out.attempts)
        wait_until(lambda: len(out.attempts) > attempts + 2, what="more attempts")
        assert "homeassistant/sensor/+/config" in reason
        assert (out.queued(), subscriber.got) == (1, [])
