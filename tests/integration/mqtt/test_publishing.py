"""Predictions published to a real broker, from a queue that holds them until it has acknowledged."""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from eaves.delivery import DeliveryOutcome
from tests.fakes.mqtt.tap import Tap
from tests.processes.mosquitto import KEEPING_ALL, Mosquitto, run_mosquitto
from tests.processes.publishing import prediction, publishing
from tests.processes.subscriber import subscribed
from tests.waiting import wait_until


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with run_mosquitto(tmp_path / "broker", KEEPING_ALL) as running:
        yield running


def test_a_prediction_is_a_cloudevent_of_the_binding(broker: Mosquitto, tmp_path: Path) -> None:
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


def test_a_broker_of_version_3_gets_the_whole_event_as_json(broker: Mosquitto, tmp_path: Path) -> None:
    with (
        subscribed(broker.port, "plant") as subscriber,
        publishing(tmp_path, f"{broker.url}/plant", version="3.1.1") as out,
    ):
        out.put(prediction(1))
        (message,) = subscriber.wait_for(1)

    assert message.json()["specversion"] == "1.0"
    assert message.json()["data"] == prediction(1).json()
    assert not message.properties


def test_plain_json_is_for_receivers_that_know_no_cloudevents(broker: Mosquitto, tmp_path: Path) -> None:
    with (
        subscribed(broker.port, "plant") as subscriber,
        publishing(tmp_path, f"{broker.url}/plant", format="json") as out,
    ):
        out.put(prediction(1))
        (message,) = subscriber.wait_for(1)

    assert (message.json()["label"], message.json()["camera"], message.json()["model"]) == ("rose", "gate", "flowers")
    assert not message.properties


@pytest.mark.parametrize(
    ("kills", "count"), [(3, 200), pytest.param(20, 2000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_nothing_is_lost_while_the_broker_is_killed(broker: Mosquitto, tmp_path: Path, kills: int, count: int) -> None:
    """Each prediction is acknowledged by the broker; what the subscriber misses all the same, the broker lost."""
    tap = Tap(broker.port)
    url = f"mqtt://127.0.0.1:{tap.port}/plant/{{label}}"
    wanted = {prediction(number).id for number in range(count)}
    with subscribed(broker.port, "plant/#") as subscriber, publishing(tmp_path, url, format="json") as out:
        for kill in range(kills):
            out.put(*(prediction(number) for number in range(kill * count // kills, (kill + 1) * count // kills)))
            some = kill * count // kills + count // kills // 3
            wait_until(lambda some=some: len(tap.acknowledged) > some, 60, what="some of them")  # type: ignore[misc]
            broker.kill()
            broker.start()
        out.wait_until_empty(120)
        subscriber.wait_until_quiet(wanted)
        ids = subscriber.ids()
        assert not out.dead()
    tap.close()

    assert tap.acknowledged == wanted
    lost, repeats = len(wanted - set(ids)), sum(ids.values()) - len(ids)
    logging.getLogger(__name__).info(
        "%d kills, %d predictions, all acknowledged; at the subscriber %d repeats, %d lost by the broker itself",
        kills,
        count,
        repeats,
        lost,
    )
    assert repeats <= 2 * kills * 20  # in flight to the broker, and from it
    assert lost <= kills * 20


def test_a_broker_that_is_away_for_long_costs_one_line_and_no_memory(
    broker: Mosquitto, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker.kill()
    with publishing(tmp_path, f"{broker.url}/plant") as out:
        out.put(*(prediction(number) for number in range(50)))
        wait_until(lambda: "refused" in out.reason(), what="the reason")
        before_bytes = _resident_bytes()
        attempts = len(out.attempts)
        wait_until(lambda: len(out.attempts) > attempts + 5, 30, what="more attempts")
        assert _resident_bytes() - before_bytes < 2_000_000
        (warning,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        reason = f"can't connect to the broker 127.0.0.1:{broker.port}: connection refused"
        assert warning == f"queue out is paused; its events are kept: {reason}"
        broker.start()
        with subscribed(broker.port, "plant") as subscriber:
            out.wait_until_empty()
            assert not out.reason()
            assert len(subscriber.ids()) <= 50
        assert not out.dead()


def test_a_broker_that_never_acknowledges_is_given_up_on_in_time(broker: Mosquitto, tmp_path: Path) -> None:
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


def test_a_topic_that_is_not_allowed_pauses_the_queue_and_keeps_the_prediction(tmp_path: Path) -> None:
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


def test_one_topic_that_is_not_allowed_holds_up_no_other(tmp_path: Path) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic write plant/rose\n")
    with (
        run_mosquitto(tmp_path / "broker", [f"acl_file {rules}"]) as broker,
        publishing(tmp_path, f"{broker.url}/plant/{{label}}") as out,
    ):
        out.put(prediction(0, label="tulip"))
        out.put(*(prediction(number) for number in range(1, 60)))
        wait_until(lambda: out.queued() <= 1, 30, what="the others")


def test_what_the_broker_finds_too_large_is_a_dead_letter(tmp_path: Path) -> None:
    with (
        run_mosquitto(tmp_path / "broker", ["max_packet_size 5000"]) as broker,
        publishing(tmp_path, f"{broker.url}/plant") as out,
    ):
        out.put(prediction(1, data=json.dumps({"x": "y" * 6000}).encode()), prediction(2))
        out.wait_until_empty()
        assert out.dead()
        assert "exceeds the limit of the broker" in out.dead()[0]
        assert len(out.dead()) == 1


def test_what_the_broker_refuses_as_too_large_is_a_dead_letter(tmp_path: Path) -> None:
    with (
        run_mosquitto(tmp_path / "broker", ["message_size_limit 1000"]) as broker,
        publishing(tmp_path, f"{broker.url}/plant") as out,
    ):
        out.put(prediction(1, data=json.dumps({"x": "y" * 2000}).encode()), prediction(2))
        out.wait_until_empty()
        assert ["0x95" in reason for reason in out.dead()] == [True]


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
