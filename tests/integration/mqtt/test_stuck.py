"""A connection whose thread hangs: it counts as broken, and the parts that depend on it get an error."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eaves.mqtt import BrokerConnection, ConnectionSettings, parse_address
from eaves.mqtt.message import SessionInfo
from eaves.sources.mqtt.kind import MqttSourceSettings
from eaves.sources.mqtt.source import MqttSource
from tests.fakes.mqtt.listener import RecordingListener
from tests.fakes.sources.source_context import RecordingContext
from tests.processes.mosquitto import Mosquitto, run_mosquitto
from tests.waiting import wait_until

STUCK_S = 1.5
"""Longer than one turn of the network loop, 1 s."""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with run_mosquitto(tmp_path / "broker") as running:
        yield running


class Hanging(RecordingListener):
    """Hangs in the connection's thread when the broker has accepted the connection."""

    def __init__(self) -> None:
        super().__init__()
        self.over = threading.Event()

    def connected(self, session: SessionInfo) -> None:
        self.over.wait()
        super().connected(session)


def settings(broker: Mosquitto) -> ConnectionSettings:
    return ConnectionSettings(address=parse_address(broker.url), client_id="test")


def test_a_connection_whose_thread_hangs_is_not_alive_until_it_returns(broker: Mosquitto) -> None:
    listener = Hanging()
    connection = BrokerConnection(settings(broker), listener, stuck_s=STUCK_S)
    connection.start()
    try:
        assert connection.is_alive()
        wait_until(lambda: not connection.is_alive(), what="a connection that hangs")
        listener.over.set()
        wait_until(connection.is_alive, what="a connection that works again")
    finally:
        listener.over.set()
        connection.stop()


def test_one_that_waits_for_messages_or_for_a_broker_that_is_away_is_alive(broker: Mosquitto) -> None:
    connection = BrokerConnection(settings(broker), RecordingListener(), stuck_s=STUCK_S)
    connection.start()
    try:
        wait_until(lambda: connection.session, what="the connection")
        watch_until = time.monotonic() + 2 * STUCK_S
        wait_until(lambda: not connection.is_alive() or time.monotonic() > watch_until, what="a quiet while")
        assert connection.is_alive()
        broker.kill()
        wait_until(lambda: connection.reason, what="the broker's absence")
        assert connection.is_alive()
    finally:
        connection.stop()


def test_a_source_whose_connection_hangs_ends_so_that_it_is_started_again(broker: Mosquitto) -> None:
    class HangingSource(MqttSource):
        over = threading.Event()

        def connected(self, session: SessionInfo) -> None:
            self.over.wait()

    context = RecordingContext("gate")
    source = HangingSource(MqttSourceSettings(url=broker.url, topics=("a",)), context, stuck_s=STUCK_S)
    try:
        with pytest.raises(
            RuntimeError, match="thread of the connection to the broker has ended or no longer responds"
        ):
            source.run()
    finally:
        source.over.set()
