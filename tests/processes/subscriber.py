"""A subscriber that is nothing but paho: what it got shows what a broker really passed on."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.waiting import wait_until


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One message."""

    topic: str
    payload: bytes
    retain: bool
    content_type: str = ""
    properties: dict[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        return json.loads(self.payload)


class Subscriber:
    """Subscribes with QoS 1 and a session that the broker keeps; comes back whenever the broker does."""

    def __init__(self, port: int, topics: Sequence[str], *, username: str = "", password: str = "") -> None:
        self._topics = topics
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._got: list[Received] = []
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id="bare-subscriber", protocol=MQTTProtocolVersion.MQTTv5
        )
        if username:
            self._client.username_pw_set(username, password)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._connected
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._received
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 3600
        self._client.connect("127.0.0.1", port, 5, clean_start=False, properties=properties)
        self._client.loop_start()
        assert self._ready.wait(10), "no subscription"

    @property
    def got(self) -> list[Received]:
        with self._lock:
            return list(self._got)

    def on(self, topic: str) -> list[Received]:
        return [message for message in self.got if message.topic == topic]

    def ids(self) -> Counter[str]:
        """How often each event came, by the id in its user properties or its JSON."""
        return Counter(message.properties.get("id") or message.json()["id"] for message in self.got)

    def wait_for(self, count: int, timeout_s: float = 15.0) -> list[Received]:
        """The messages, once there are so many."""
        wait_until(lambda: len(self.got) >= count, timeout_s, what=f"{count} messages")
        return self.got

    def wait_until_quiet(self, wanted: set[str], quiet_s: float = 3.0) -> None:
        """Wait until the wanted events have come, or nothing has for a while: a killed broker may have lost some."""
        seen, since = -1, time.monotonic()
        while wanted - set(self.ids()) and time.monotonic() - since < quiet_s:
            if len(self.got) != seen:
                seen, since = len(self.got), time.monotonic()
            time.sleep(0.05)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, 1, retain=retain).wait_for_publish(10)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(self, client: paho.Client, *_: object) -> None:
        client.subscribe([(topic, 1) for topic in self._topics])

    def _received(self, _: paho.Client, __: object, message: paho.MQTTMessage) -> None:
        properties = message.properties
        made = Received(
            topic=message.topic,
            payload=bytes(message.payload),
            retain=message.retain,
            content_type=getattr(properties, "ContentType", ""),
            properties=dict(getattr(properties, "UserProperty", [])),
        )
        with self._lock:
            self._got.append(made)


@contextmanager
def subscribed(port: int, *topics: str, username: str = "", password: str = "") -> Iterator[Subscriber]:
    """A subscriber of these topics, closed at the end."""
    subscriber = Subscriber(port, topics, username=username, password=password)
    try:
        yield subscriber
    finally:
        subscriber.close()
