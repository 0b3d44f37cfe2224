"""`python -P -m eaves.link.publisher` as a process: events over HTTP in, messages to a real broker out."""

import json
import signal
import time
from pathlib import Path

from tests.ports import find_ports
from tests.processes.mosquitto import Mosquitto
from tests.processes.publishing import prediction
from tests.processes.service import ServiceProcess
from tests.processes.subscriber import subscribed
from tests.waiting import wait_until


class PublisherProcess(ServiceProcess):
    """One publisher."""

    def __init__(self, folder: Path, url: str, **environ: str) -> None:
        port, health_port = find_ports(2)
        settings = {
            "EAVES_URL": url,
            "EAVES_APP": "flowers",
            "EAVES_SITE": "home",
            "EAVES_SPOOL": str(folder / "publisher.db"),
            "EAVES_HEALTH_PORT": str(health_port),
            "PORT": str(port),
            **environ,
        }
        super().__init__("eaves.link.publisher", folder / "publisher.log", settings, port=port, health_port=health_port)


def test_an_event_over_http_becomes_a_message(broker: Mosquitto, tmp_path: Path):
    with (
        subscribed(broker.port, "plant/#") as subscriber,
        PublisherProcess(tmp_path, f"{broker.url}/plant/{{label}}", EAVES_MQTT_FORMAT="json") as publisher,
    ):
        assert publisher.post(prediction(1))[0] == 202
        assert publisher.post(prediction(2, label="tulip"))[0] == 202
        assert publisher.post(prediction(1))[0] == 202  # its sender has not seen the answer, say
        subscriber.wait_for(2)
        wait_until(lambda: not publisher.lane("sink")["queued"], what="an empty queue")
        assert publisher.lane("sink")["attempts"]["delivered"] == 2
        assert 'eaves_deliveries_total{lane="sink",outcome="delivered"} 2' in publisher.get("/metrics")[1]
        assert publisher.get("/health")[0] == 200
        assert {message.topic for message in subscriber.got} == {"plant/rose", "plant/tulip"}


def test_a_full_queue_is_the_senders_to_keep(tmp_path: Path):
    small = {"EAVES_SPOOL_MAX_BYTES": "1000000", "EAVES_MAX_BYTES": "900000"}
    with PublisherProcess(tmp_path, "mqtt://127.0.0.1:9/a", **small) as publisher:
        large = json.dumps({"x": "y" * 400_000}).encode()
        assert [publisher.post(prediction(number, data=large))[0] for number in range(3)] == [202, 202, 429]
        # a connection that is refused is reported once it was tried
        wait_until(lambda: publisher.get("/health")[0] == 503, what="a report of the broker that is away")
        assert "can't connect to the broker" in publisher.get("/health")[1]
        assert publisher.get("/health/liveness")[0] == 200


def test_what_was_taken_survives_a_kill_and_a_broker_that_is_away(broker: Mosquitto, tmp_path: Path):
    with subscribed(broker.port, "plant") as subscriber, PublisherProcess(tmp_path, f"{broker.url}/plant") as publisher:
        broker.stop()
        assert [publisher.post(prediction(number))[0] for number in range(20)] == [202] * 20
        publisher.stop(signal.SIGKILL)
        publisher.start()
        broker.start()
        wait_until(lambda: len(subscriber.ids()) == 20, 30, what="all of them")


def test_it_ends_in_time_though_the_broker_is_frozen(broker: Mosquitto, tmp_path: Path):
    with (
        subscribed(broker.port, "plant") as subscriber,
        PublisherProcess(tmp_path, f"{broker.url}/plant", EAVES_MQTT_HOME_ASSISTANT="true") as publisher,
    ):
        publisher.post(prediction(1))
        subscriber.wait_for(1)
        broker.signal(signal.SIGSTOP)
        publisher.post(prediction(2))
        began = time.monotonic()
        publisher.stop()
        took_s = time.monotonic() - began
        broker.signal(signal.SIGCONT)
    assert took_s < 3


def test_sensors_are_unavailable_once_it_was_killed(broker: Mosquitto, tmp_path: Path):
    with (
        subscribed(broker.port, "eaves/home/flowers/availability") as subscriber,
        PublisherProcess(tmp_path, f"{broker.url}/plant", EAVES_MQTT_HOME_ASSISTANT="true") as publisher,
    ):
        assert subscriber.wait_for(1)[0].payload == b"online"
        publisher.stop(signal.SIGKILL)
        assert subscriber.wait_for(2)[1].payload == b"offline"
        publisher.start()
        assert subscriber.wait_for(3)[2].payload == b"online"
