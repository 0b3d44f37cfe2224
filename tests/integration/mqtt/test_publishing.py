"""Predictions published to a real broker, which has acknowledged what leaves the queue; what Home Assistant finds."""

import http.client
import json
import logging
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from eaves.delivery import DeliveryOutcome
from eaves.events import IMAGE_CLASSIFIED, Event, encode_binary
from eaves.local.state import LocalApp, LocalFunction
from eaves.platform import MqttSection, TriggerSpec
from tests.contract.harness import LocalHarness, status_of
from tests.fakes.mqtt.tap import Tap
from tests.inputs.home_assistant import DISCOVERY_TOPIC, SENSOR
from tests.proc import memory_bytes
from tests.processes.mosquitto import Mosquitto, run_mosquitto
from tests.processes.publishing import prediction, publishing
from tests.processes.subscriber import Subscriber, subscribed
from tests.waiting import wait_until


def test_a_prediction_is_a_cloudevent_of_the_binding(broker: Mosquitto, tmp_path: Path):
    with (
        subscribed(broker.port, "plant/#") as subscriber,
        publishing(tmp_path, f"{broker.url}/plant/{{partitionkey}}/{{label}}") as out,
    ):
        out.put(prediction(1))
        (message,) = subscriber.wait_for(1)
        out.wait_until_empty()

    assert (message.topic, message.payload, message.retain) == ("plant/gate/rose", prediction(1).data, False)
    assert message.content_type == "application/json"
    assert message.properties["id"] == "id-1"
    assert message.properties["specversion"] == "1.0"
    assert [attempt.outcome for attempt in out.attempts] == [DeliveryOutcome.DELIVERED]


def test_a_broker_of_version_3_gets_the_whole_event_as_json_and_others_may_have_plain_json(
    broker: Mosquitto, tmp_path: Path
):
    with subscribed(broker.port, "plant") as subscriber:
        with publishing(tmp_path, f"{broker.url}/plant", version="3.1.1") as out:
            out.put(prediction(1))
            subscriber.wait_for(1)
        with publishing(tmp_path, f"{broker.url}/plant", format="json") as out:
            out.put(prediction(2))
            subscriber.wait_for(2)
        whole, plain = subscriber.got
    assert (whole.json()["specversion"], whole.json()["data"]) == ("1.0", prediction(1).json())
    assert (plain.json()["label"], plain.json()["camera"], plain.json()["model"]) == ("rose", "gate", "flowers")
    assert not whole.properties
    assert not plain.properties


@pytest.mark.long("a broker is killed 3 times, or 20")
@pytest.mark.parametrize(
    ("kills", "count"), [(3, 200), pytest.param(20, 2000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_nothing_is_lost_while_the_broker_is_killed(broker: Mosquitto, tmp_path: Path, kills: int, count: int):
    """Each prediction is acknowledged by the broker; what the subscriber misses all the same, the broker lost."""
    tap = Tap(broker.port)
    url = f"mqtt://127.0.0.1:{tap.port}/plant/{{label}}"
    wanted = {prediction(number).id for number in range(count)}
    with subscribed(broker.port, "plant/#") as subscriber, publishing(tmp_path, url, format="json") as out:
        for kill in range(kills):
            out.put(*(prediction(number) for number in range(kill * count // kills, (kill + 1) * count // kills)))
            some = kill * count // kills + count // kills // 3
            wait_until(lambda some=some: len(tap.acknowledged) > some, 60, what="some of them")  # type: ignore[misc]
            broker.stop()
            broker.start()
        out.wait_until_empty(120)
        subscriber.wait_until_quiet(wanted)
        ids = subscriber.ids()
        assert not out.dead()
    tap.close()

    assert tap.acknowledged == wanted
    lost, repeats = len(wanted - set(ids)), sum(ids.values()) - len(ids)
    assert repeats <= 2 * kills * 20  # in flight to the broker, and from it
    assert lost <= kills * 20


def test_a_broker_that_is_away_for_long_costs_one_line_and_no_memory(
    broker: Mosquitto, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    broker.stop()
    with publishing(tmp_path, f"{broker.url}/plant") as out:
        out.put(*(prediction(number) for number in range(50)))
        wait_until(lambda: "refused" in out.reason(), what="the reason")
        before_bytes = memory_bytes()
        attempts = len(out.attempts)
        wait_until(lambda: len(out.attempts) > attempts + 5, 30, what="more attempts")
        assert memory_bytes() - before_bytes < 2_000_000
        (warning,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        reason = f"can't connect to the broker 127.0.0.1:{broker.port}: connection refused"
        assert warning == f"queue out is paused; its events are kept: {reason}"
        broker.start()
        with subscribed(broker.port, "plant") as subscriber:
            out.wait_until_empty()
            assert not out.reason()
            assert len(subscriber.ids()) <= 50
        assert not out.dead()


def test_a_broker_that_never_acknowledges_is_given_up_on_in_time(broker: Mosquitto, tmp_path: Path):
    with (
        subscribed(broker.port, "plant") as subscriber,
        publishing(tmp_path, f"{broker.url}/plant", timeout_s=1) as out,
    ):
        out.put(prediction(0))
        out.wait_until_empty()
        broker.signal(signal.SIGSTOP)
        out.put(prediction(1))
        wait_until(lambda: "didn't acknowledge the message within 1 s" in out.reason(), what="the reason")
        broker.signal(signal.SIGCONT)
        out.wait_until_empty()
        wait_until(lambda: len(subscriber.ids()) == 2, what="both")
        assert not out.dead()


def test_a_topic_that_is_not_allowed_pauses_the_queue_and_keeps_the_prediction(tmp_path: Path):
    rules = tmp_path / "acl"
    rules.write_text("topic write allowed/#\n")
    with (
        run_mosquitto(tmp_path / "broker", [f"acl_file {rules}"]) as broker,
        publishing(tmp_path, f"{broker.url}/plant/{{label}}") as out,
    ):
        out.put(prediction(1), prediction(2, label="tulip"))
        reason = wait_until(out.reason, what="the reason")
        attempts = len(out.attempts)
        wait_until(lambda: len(out.attempts) > attempts + 3, what="more attempts")
        assert "refuses a message to plant/{label}: not authorized (MQTT reason code 0x87)" in reason
        assert (out.queued(), out.dead()) == (2, [])


def test_one_topic_that_is_not_allowed_holds_up_no_other(tmp_path: Path):
    rules = tmp_path / "acl"
    rules.write_text("topic write plant/rose\n")
    with (
        run_mosquitto(tmp_path / "broker", [f"acl_file {rules}"]) as broker,
        publishing(tmp_path, f"{broker.url}/plant/{{label}}") as out,
    ):
        out.put(prediction(0, label="tulip"))
        out.put(*(prediction(number) for number in range(1, 60)))
        wait_until(lambda: out.queued() <= 1, 30, what="the others")


def test_what_the_broker_finds_too_large_is_a_dead_letter(tmp_path: Path):
    with (
        run_mosquitto(tmp_path / "broker", ["max_packet_size 5000"]) as broker,
        publishing(tmp_path, f"{broker.url}/plant") as out,
    ):
        out.put(prediction(1, data=json.dumps({"x": "y" * 6000}).encode()), prediction(2))
        out.wait_until_empty()
        assert out.dead()
        assert "exceeds the limit of the broker" in out.dead()[0]
        assert len(out.dead()) == 1


def test_what_the_broker_refuses_as_too_large_is_a_dead_letter(tmp_path: Path):
    with (
        run_mosquitto(tmp_path / "broker", ["message_size_limit 1000"]) as broker,
        publishing(tmp_path, f"{broker.url}/plant") as out,
    ):
        out.put(prediction(1, data=json.dumps({"x": "y" * 2000}).encode()), prediction(2))
        out.wait_until_empty()
        assert ["0x95" in reason for reason in out.dead()] == [True]


STATE = "eaves/home/flowers/gate/state"
AVAILABILITY = "eaves/home/flowers/availability"
LABEL = "homeassistant/sensor/eaves_home_flowers_gate_label/config"


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[Mosquitto]:
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


def test_sensors_are_found_by_a_home_assistant_that_starts_later(forgetful: Mosquitto, tmp_path: Path):
    with publishing(tmp_path, f"{forgetful.url}/plant/{{label}}", home_assistant=True) as out:
        out.put(prediction(1), prediction(2, camera="hall", label="tulip"))
        out.wait_until_empty()
        with subscribed(forgetful.port, "homeassistant/#", "eaves/#") as subscriber:
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


def test_everything_is_reported_again_to_a_broker_that_forgot_it(forgetful: Mosquitto, tmp_path: Path):
    with publishing(tmp_path, f"{forgetful.url}/plant", home_assistant=True) as out:
        out.put(prediction(1))
        out.wait_until_empty()
        forgetful.stop()
        forgetful.start()
        with subscribed(forgetful.port, "homeassistant/sensor/#", STATE, AVAILABILITY) as subscriber:
            wait_until(lambda: last(subscriber, LABEL) and last(subscriber, STATE), 20, what="the sensors")
            wait_until(lambda: last(subscriber, AVAILABILITY) == "online", what="availability")


def test_an_older_connections_will_is_corrected(forgetful: Mosquitto, tmp_path: Path):
    with (
        subscribed(forgetful.port, AVAILABILITY) as subscriber,
        publishing(tmp_path, f"{forgetful.url}/plant", home_assistant=True),
    ):
        wait_until(lambda: last(subscriber, AVAILABILITY) == "online", what="online")
        subscriber.publish(AVAILABILITY, b"offline", retain=True)
        wait_until(lambda: len(subscriber.on(AVAILABILITY)) >= 3, what="the correction")
        assert last(subscriber, AVAILABILITY) == "online"


def test_a_home_assistant_that_may_not_be_reported_keeps_the_prediction_and_says_so(tmp_path: Path):
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


def test_predictions_are_published_and_nothing_comes_back(harness: LocalHarness, broker: Mosquitto):
    with subscribed(broker.port, "plant/#") as subscriber:
        harness.deploy(app(trigger(f"{broker.url}/plant/{{label}}")))
        publish(harness, prediction(1), prediction(2, label="tulip"))
        got = subscriber.wait_for(2)
        wait_until(lambda: status_of(harness.platform).queued == 0, what="two deliveries")

    assert {message.topic for message in got} == {"plant/rose", "plant/tulip"}


def test_each_trigger_has_a_connection_that_ends_with_it(harness: LocalHarness, broker: Mosquitto):
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
