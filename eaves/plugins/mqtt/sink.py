"""The sink of one trigger: an event is delivered when the broker has acknowledged every message made from it."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import cast

from eaves.delivery.response_rules import ACCEPTED, DeliveryAction, SinkResponse, choose_action
from eaves.delivery.sinks import MqttTriggerSettings, Sink, SinkTarget
from eaves.errors import DeliveryError, UnreachableError
from eaves.events import Event
from eaves.plugins.mqtt.encoding import (
    NewestEvents,
    build_cloudevent,
    build_json,
    build_topic,
    find_topic_fault,
    packet_bytes,
)
from eaves.plugins.mqtt.home_assistant import OFFLINE, ONLINE, HomeAssistant
from eaves.plugins.mqtt.message import (
    Acknowledgement,
    ConnectionListener,
    ConnectionSettings,
    Message,
    Publication,
    SessionInfo,
    Version,
    parse_address,
)

MAX_ACKNOWLEDGEMENT_S = 20.0
"""Maximum wait for a broker's acknowledgement in seconds; a trigger's longer time limit for predictions doesn't raise
it."""
CONNECT_S = 3.0
"""Maximum wait for a connection that is being made, in seconds; after it an event counts as not sent. It is long enough
for the first attempt after a lost connection to fail, so that the reason of that failure is logged.
"""
OFFLINE_S = 1.0
"""Maximum wait for the acknowledgement of the last message, that the sensors are offline, seconds."""
MAX_NAME = 40
FIRST_FAILURE = 0x80
"""Lowest reason code that is a failure. Lower codes are successes, including 0x10 (no matching subscribers).

Source: MQTT 5.0, section 2.4.
"""
STATUSES = {
    0x87: 403,  # not authorised: the network path is at fault, and the queue pauses
    0x90: 422,  # topic name invalid: this broker never accepts this topic
    0x95: 413,  # packet too large; mosquitto sends it although section 3.4.2.1 doesn't list it
    0x97: 429,  # quota exceeded: the broker takes the message later
    0x99: 415,  # payload format invalid
}
"""HTTP status with the same meaning, by reason code of PUBACK; any other failure is 500, which is retried.

Source: MQTT 5.0, section 3.4.2.1; `eaves.delivery.response_rules` has the actions for each status.
"""


class MqttSink(Sink, ConnectionListener):
    """Publishes events with QoS 1 over a connection of its own; many threads can use it.

    Each process uses a different client id and keeps no session: messages that are not acknowledged are still in the
    spool, and with the same id two machines with the same names would disconnect each other.

    Attributes:
        broker: Address of the broker, for messages.
    """

    def __init__(self, target: SinkTarget) -> None:
        from eaves.plugins.mqtt.connection import (
            BrokerConnection,  # settings are checked without paho, which takes 0.1 s
        )

        settings, site, app, clock = target.settings, target.site, target.app, target.clock
        address = parse_address(target.url)
        self.broker = address.endpoint
        self._template = address.path
        self._settings = settings
        self._newest = NewestEvents(clock)
        self._home: HomeAssistant | None = None
        if settings.home_assistant:
            self._home = HomeAssistant(site=site, app=app, prefix=settings.discovery_prefix, clock=clock)
        self._order = threading.Lock()  # held while messages are made and handed over, so that they are sent in order
        self._state = threading.Condition()
        self._unavailable = ""
        self._busy = 0
        self._closing = False
        connection = ConnectionSettings(
            address=address,
            client_id=f"eaves-{site[:MAX_NAME]}-{app[:MAX_NAME]}-{secrets.token_hex(4)}",
            credentials=settings.credentials,
            version=cast(Version, settings.version),
            session_expiry_s=0,
            will=self._home.availability(OFFLINE) if self._home else None,
        )
        self._connection = BrokerConnection(connection, self, clock=clock)
        self._connection.start()

    @classmethod
    def find_faults(cls, url: str, settings: MqttTriggerSettings) -> Iterator[tuple[str, str]]:
        """Yield path and message of each fault of an mqtt:// or mqtts:// url and of the section `mqtt`."""
        try:
            if fault := find_topic_fault(parse_address(url).path):
                yield "url", f"topic {fault}"
        except ValueError as error:
            yield "url", str(error)
        if fault := find_topic_fault(settings.discovery_prefix):
            yield "mqtt.discovery_prefix", fault
        elif "{" in settings.discovery_prefix:
            message = f"must be a topic without attributes in braces (got {settings.discovery_prefix!r})"
            yield "mqtt.discovery_prefix", message

    def is_alive(self) -> bool:
        """Return whether the sink is connected or will connect again."""
        return self._connection.is_alive()

    def send(self, event: Event, *, timeout_s: float) -> SinkResponse:
        """Publish one event, and wait until the broker has acknowledged it, for at most 20 s.

        Messages for Home Assistant are published first. When the broker doesn't allow them, the event's own message is
        not published again at each attempt.
        """
        started = time.monotonic()
        with self._use() as session:
            answer = self._publish(event, session, min(timeout_s, MAX_ACKNOWLEDGEMENT_S))
        return replace(answer, latency_ms=(time.monotonic() - started) * 1000)

    def close(self, grace_s: float = 1.0) -> None:
        """End the connection; messages in flight have `grace_s` for their acknowledgement."""
        with self._state:
            self._closing = True
            self._state.notify_all()
            acknowledges = self._state.wait_for(lambda: not self._busy, grace_s)
        if acknowledges and self._home is not None and self._connection.session is not None:
            with self._order:
                (published,) = self._hand_over([self._home.availability(OFFLINE)])
            with suppress(TimeoutError, DeliveryError):
                published.result(OFFLINE_S)
        self._connection.stop()

    def _publish(self, event: Event, session: SessionInfo, timeout_s: float) -> SinkResponse:
        build = build_json if self._settings.format == "json" else build_cloudevent
        topic, version5 = build_topic(self._template, event), session.version == "5"
        message = build(event, topic, version5=version5, retain=self._settings.retain)
        size_bytes, limit_bytes = packet_bytes(message), session.max_packet_bytes
        if limit_bytes is not None and size_bytes > limit_bytes:
            reason = (
                f"a message of {size_bytes} bytes exceeds the limit of the broker {self.broker}: {limit_bytes} bytes"
            )
            return SinkResponse(status=413, body=reason.encode(), is_receivers=True)
        if self._home is not None:
            answer = self._update_home(self._home, event, timeout_s)
            if choose_action(answer.status) is not DeliveryAction.DONE:
                return answer
        with self._order:
            if message.retain and not self._newest.accept(message.topic, event):
                message = replace(message, retain=False)  # the broker keeps the newer message that was sent before
            sent = self._hand_over([message])
        return self._wait(sent, self._template, timeout_s)

    def _update_home(self, home: HomeAssistant, event: Event, timeout_s: float) -> SinkResponse:
        answer: SinkResponse | None = None
        with self._order:
            sent = self._hand_over(home.update(event))
        try:
            answer = self._wait(sent, f"the topics of Home Assistant ({home.topics})", timeout_s)
        finally:
            if answer is None or choose_action(answer.status) is not DeliveryAction.DONE:
                with self._order:
                    home.forget(event)
        return answer

    def _hand_over(self, messages: Sequence[Publication]) -> list[Future[Acknowledgement]]:
        """Give messages to the connection. The caller holds `_order`."""
        return [self._connection.publish(message) for message in messages]

    def _wait(self, sent: Sequence[Future[Acknowledgement]], topic: str, timeout_s: float) -> SinkResponse:
        """Wait for the broker's acknowledgements of messages; return the first refusal, or else a success.

        Raises:
            DeliveryError: When they don't arrive in time, or the connection was lost before; the messages may have
                arrived.
        """
        deadline = time.monotonic() + timeout_s
        try:
            found = [one.result(max(0.0, deadline - time.monotonic())) for one in sent]
        except TimeoutError as error:
            self._connection.reconnect()  # paho keeps unacknowledged messages while the connection lasts
            reason = f"the broker {self.broker} didn't acknowledge the message within {timeout_s:g} s"
            raise DeliveryError(reason) from error
        except UnreachableError as error:
            self._wait_for_connection()
            reason = self._unavailable or f"the connection to the broker {self.broker} was lost"
            raise DeliveryError(reason, hint="check that the broker runs") from error
        answers = [build_answer(one, broker=self.broker, topic=topic) for one in found]
        refused = [one for one in answers if choose_action(one.status) is not DeliveryAction.DONE]
        return next(iter(refused or answers), SinkResponse(status=ACCEPTED))

    @contextmanager
    def _use(self) -> Iterator[SessionInfo]:
        """Yield the current session with the broker, in which the block publishes; UnreachableError without one."""
        with self._state:
            self._busy += 1
        try:
            self._wait_for_connection()
            session = self._connection.session
            if self._closing:
                raise UnreachableError(f"the client for the broker {self.broker} is closed")
            if session is None:
                reason = self._unavailable or f"not connected yet to the broker {self.broker}"
                raise UnreachableError(reason, hint="check that the broker runs")
            yield session
        finally:
            with self._state:
                self._busy -= 1
                self._state.notify_all()

    def _wait_for_connection(self) -> None:
        """Wait until there is a connection, or until it is known why there is none."""
        with self._state:
            self._state.wait_for(
                lambda: self._closing or self._unavailable or self._connection.session is not None, CONNECT_S
            )

    def connected(self, session: SessionInfo) -> None:
        """Publish all Home Assistant messages again, because the broker may have lost its retained messages."""
        if self._home is not None:
            self._connection.subscribe([self._home.availability(ONLINE).topic])
            with self._order:
                self._hand_over([self._home.availability(ONLINE), *self._home.all_messages()])
        self.unavailable("")

    def lost(self) -> None:
        """Forget why there is no connection: the next attempt to connect, whose failure gives a better reason, says."""
        self._unavailable = ""

    def unavailable(self, reason: str) -> None:
        """Record why there is no connection; threads that wait for one then fail with this reason."""
        with self._state:
            self._unavailable = reason
            self._state.notify_all()

    def received(self, message: Message) -> None:
        """Say that the sensors are online when the will message of an older connection has said that they aren't."""
        self._connection.acknowledge(message)
        if self._home is not None and message.payload == OFFLINE:
            with self._order:
                if not self._closing:
                    self._hand_over([self._home.availability(ONLINE)])


def build_answer(acknowledgement: Acknowledgement, *, broker: str, topic: str) -> SinkResponse:
    """Return the broker's response to one message.

    Args:
        acknowledgement: PUBACK of the message.
        broker: Address of the broker, for messages.
        topic: Topic of the message before attributes were filled in, so that refusals have the same reason for all
            labels.
    """
    code = acknowledgement.code
    if code < FIRST_FAILURE:
        return SinkResponse(status=ACCEPTED)
    reason = f"the broker {broker} refuses a message to {topic}: {acknowledgement.name} (MQTT reason code 0x{code:02x})"
    return SinkResponse(status=STATUSES.get(code, 500), body=reason.encode(), is_receivers=True)
