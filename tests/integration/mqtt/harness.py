"""A source in a thread, and a publisher beside it."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from eaves.plugins.mqtt.connection import BrokerConnection
from eaves.plugins.mqtt.kind import MqttSourceSettings
from eaves.plugins.mqtt.message import ConnectionSettings, Publication, parse_address
from eaves.plugins.mqtt.source import MqttSource
from tests.fakes.mqtt.listener import RecordingListener
from tests.fakes.sources.source_context import RecordingContext
from tests.waiting import wait_until

PNG = b"\x89PNG\r\n\x1a\n"


def picture(number: int, size: int = 2000) -> bytes:
    """Bytes that begin as an image does, different for each number."""
    return PNG + number.to_bytes(8) + bytes(size)


def number_of(data: bytes) -> int:
    """The number of a `picture`."""
    return int.from_bytes(data[8:16])


@contextmanager
def run_source(url: str, context: RecordingContext, *, wait: bool = True, **values: Any) -> Iterator[MqttSource]:
    """A source that runs in the block, and watches when the block begins, unless `wait` is False."""
    source = MqttSource(MqttSourceSettings(url=url, **{"topics": ("cameras/#",), **values}), context)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            source.run()
        except BaseException as error:
            failures.append(error)
            raise

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        if wait:
            wait_until(lambda: context.states and context.states[-1][0] == "watching", what="watching")
        yield source
    finally:
        context.stop()
        thread.join(10)
    assert not thread.is_alive()
    assert not failures


@contextmanager
def connect_publisher(url: str, client_id: str = "publisher") -> Iterator[BrokerConnection]:
    """A connection to publish with."""
    settings = ConnectionSettings(
        address=parse_address(url), client_id=client_id, session_expiry_s=0, max_packet_bytes=1 << 20
    )
    connection = BrokerConnection(settings, RecordingListener())
    connection.start()
    try:
        wait_until(lambda: connection.session, what="the publisher's connection")
        yield connection
    finally:
        connection.stop()


def publish(
    connection: BrokerConnection,
    payload: bytes,
    topic: str = "cameras/3/image",
    *,
    properties: Sequence[tuple[str, str]] = (),
    content_type: str = "",
    retain: bool = False,
) -> None:
    """Publish, and wait until the broker has it."""
    publication = Publication(
        topic=topic, payload=payload, user_properties=tuple(properties), content_type=content_type, retain=retain
    )
    assert connection.publish(publication).result(30).code < 0x80
