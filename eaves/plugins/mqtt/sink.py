"""The sink of one trigger: an event is delivered when the broker has acknowledged every message made from it."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from typing import cast

from eaves.base.clock import SYSTEM, Clock
from eaves.delivery.response_rules import ACCEPTED, DeliveryAction, SinkResponse, choose_action
from eaves.errors import DeliveryError, UnreachableError
from eaves.events import Event
from eaves.plugins.mqtt.connection import BrokerConnection, ConnectionListener
from eaves.plugins.mqtt.encoding import NewestEvents, build_cloudevent, build_json, packet_bytes
from eaves.plugins.mqtt.home_assistant import OFFLINE, ONLINE, HomeAssistant
from eaves.plugins.mqtt.message import (
    Acknowledgement,
    ConnectionSettings,
    Message,
    Publication,
    SessionInfo,
    Version,
    parse_address,
)
from eaves.plugins.mqtt.sink_settings import JSON, MqttTriggerSettings, broker_url, build_topic, topic_template

MAX_ACKNOWLEDGEMENT_S = 20.0
"""Maximum wait for a broker's acknowledgement in seconds; a trigger's longer time limit for predictions doesn't raise
it."""


class MqttSink:
    """Publishes events with QoS 1; many threads can use it.

    Args:
        url: URL of the trigger.
        settings: Settings of the trigger's `mqtt` section.
        link: Connection to the broker.
        clock: Clock for monotonic time.
    """

    def __init__(self, url: str, settings: MqttTriggerSettings, link: BrokerLink, *, clock: Clock = SYSTEM) -> None:
        self._template = topic_template(url)
        self._settings = settings
        self._link = link
        self._latest = NewestEvents(clock)

    def send(self, event: Event, *, timeout_s: float) -> SinkResponse:
        """Publish one event, and wait until the broker has acknowledged it.

        Messages for Home Assistant are published first. When the broker doesn't allow them, the event's own message is
        not published again at each attempt.

        Args:
            event: Event to publish.
            timeout_s: Time limit for the acknowledgements in seconds; values above 20 s count as 20 s.

        Raises:
            EventError: When the event can't be encoded; a retry would fail too.
            UnreachableError: When there is no connection, so that nothing was sent.
            DeliveryError: When the broker didn't acknowledge in time, or the connection was lost before.
        """
        started = time.monotonic()
        with self._link.use() as session:
            answer = self._publish(event, session, min(timeout_s, MAX_ACKNOWLEDGEMENT_S))
        return replace(answer, latency_ms=(time.monotonic() - started) * 1000)

    def _publish(self, event: Event, session: SessionInfo, timeout_s: float) -> SinkResponse:
        message = self._build(event, session)
        size_bytes, limit_bytes = packet_bytes(message), session.max_packet_bytes
        if limit_bytes is not None and size_bytes > limit_bytes:
            return refuse_size(size_bytes, limit_bytes, broker=self._link.broker)
        if self._link.home is not None:
            answer = self._update_home(self._link.home, event, timeout_s)
            if choose_action(answer.status) is not DeliveryAction.DONE:
                return answer
        with self._link.order:
            if message.retain and not self._latest.accept(message.topic, event):
                message = replace(message, retain=False)  # the broker keeps the newer message that was sent before
            sent = self._link.send([message])
        return self._wait(sent, self._template, timeout_s)

    def _update_home(self, home: HomeAssistant, event: Event, timeout_s: float) -> SinkResponse:
        answer: SinkResponse | None = None
        with self._link.order:
            sent = self._link.send(home.update(event))
        try:
            answer = self._wait(sent, f"the topics of Home Assistant ({home.topics})", timeout_s)
        finally:
            if answer is None or choose_action(answer.status) is not DeliveryAction.DONE:
                with self._link.order:
                    home.forget(event)
        return answer

    def _build(self, event: Event, session: SessionInfo) -> Publication:
        topic = build_topic(self._template, event)
        build = build_json if self._settings.format == JSON else build_cloudevent
        return build(event, topic, version5=session.version == "5", retain=self._settings.retain)

    def _wait(self, sent: Sequence[Future[Acknowledgement]], topic: str, timeout_s: float) -> SinkResponse:
        """Wait for the broker's acknowledgements of messages; return the first refusal, or else a success."""
        answers = [build_answer(one, broker=self._link.broker, topic=topic) for one in self._link.wait(sent, timeout_s)]
        refused = [one for one in answers if choose_action(one.status) is not DeliveryAction.DONE]
        return next(iter(refused or answers), SinkResponse(status=ACCEPTED))


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
TOO_LARGE = 413


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


def refuse_size(size_bytes: int, limit_bytes: int, *, broker: str) -> SinkResponse:
    """Return the response that the broker would give to a message above its maximum size."""
    reason = f"a message of {size_bytes} bytes exceeds the limit of the broker {broker}: {limit_bytes} bytes"
    return SinkResponse(status=TOO_LARGE, body=reason.encode(), is_receivers=True)


CONNECT_S = 3.0
"""Maximum wait for a connection that is being made, in seconds; after it an event counts as not sent. It is long enough
for the first attempt after a lost connection to fail, so that the reason of that failure is logged.
"""
GRACE_S = 1.0
"""Time that messages have for their acknowledgement when the broker link is closed, in seconds."""


class BrokerLink(ConnectionListener):
    """A connection to one broker, for many threads that publish.

    Args:
        settings: Settings of the connection. No session is kept, because messages that are not acknowledged are still
            in the spool.
        home: Messages for Home Assistant; None publishes none.
        clock: Clock of the connection. Time limits of messages are in real time, because the network follows no other
            clock.

    Attributes:
        broker: Address of the broker, for messages.
        home: Messages for Home Assistant, used while `order` is held; None when there are none.
        order: Lock that is held while messages are made and handed over, so that they are sent in the order in which
            they were made.
    """

    def __init__(
        self, settings: ConnectionSettings, *, home: HomeAssistant | None = None, clock: Clock = SYSTEM
    ) -> None:
        self.broker = settings.address.endpoint
        self.home = home
        self.order = threading.Lock()
        self._state = threading.Condition()
        self._unavailable = ""
        self._busy = 0
        self._closing = False
        will = home.availability(OFFLINE) if home else None
        self._connection = BrokerConnection(replace(settings, session_expiry_s=0, will=will), self, clock=clock)

    def start(self) -> None:
        """Connect, and reconnect whenever the connection is lost."""
        self._connection.start()

    def is_alive(self) -> bool:
        """Return whether the broker link is connected or will connect again."""
        return self._connection.is_alive()

    def close(self, grace_s: float = GRACE_S) -> None:
        """End the connection; messages that are published later are refused.

        Args:
            grace_s: Time that messages in flight have for their acknowledgement, in seconds.
        """
        with self._state:
            self._closing = True
            self._state.notify_all()
            self._state.wait_for(lambda: not self._busy, grace_s)
            acknowledges = not self._busy
        if acknowledges and self.home is not None and self._connection.session is not None:
            with self.order:
                published = self._connection.publish(self.home.availability(OFFLINE))
            with self._state:
                published.add_done_callback(self._notify)
                self._state.wait_for(published.done, GRACE_S)
        self._connection.stop()

    @contextmanager
    def use(self) -> Iterator[SessionInfo]:
        """Yield the current session with the broker, in which the block publishes messages.

        Raises:
            UnreachableError: When there is no connection.
        """
        with self._state:
            self._busy += 1
        try:
            yield self._require()
        finally:
            with self._state:
                self._busy -= 1
                self._state.notify_all()

    def send(self, messages: Sequence[Publication]) -> list[Future[Acknowledgement]]:
        """Hand messages over to the connection. The caller holds `order`."""
        return [self._connection.publish(message) for message in messages]

    def wait(self, sent: Sequence[Future[Acknowledgement]], timeout_s: float) -> list[Acknowledgement]:
        """Wait for the broker's acknowledgements of messages that were sent, and return them.

        Raises:
            DeliveryError: When they don't arrive in time, or the connection was lost before; the messages may have
                arrived.
        """
        deadline = time.monotonic() + timeout_s
        try:
            return [one.result(max(0.0, deadline - time.monotonic())) for one in sent]
        except TimeoutError as error:
            self._connection.reconnect()  # paho keeps unacknowledged messages while the connection lasts
            raise DeliveryError(
                f"the broker {self.broker} didn't acknowledge the message within {timeout_s:g} s"
            ) from error
        except UnreachableError as error:
            self._wait_for_connection()
            reason = self._unavailable or f"the connection to the broker {self.broker} was lost"
            raise DeliveryError(reason, hint="check that the broker runs") from error

    def connected(self, session: SessionInfo) -> None:
        """Publish all Home Assistant messages again, because the broker may have lost its retained messages."""
        if self.home is not None:
            self._connection.subscribe([self.home.availability(ONLINE).topic])
            with self.order:
                self.send([self.home.availability(ONLINE), *self.home.all_messages()])
        with self._state:
            self._unavailable = ""
            self._state.notify_all()

    def lost(self) -> None:
        """Record that the connection was lost.

        Threads that publish then wait for the next attempt to connect, whose failure gives a better reason.
        """
        with self._state:
            self._unavailable = ""

    def unavailable(self, reason: str) -> None:
        """Record why there is no connection; threads that wait for one then fail with this reason."""
        with self._state:
            self._unavailable = reason
            self._state.notify_all()

    def received(self, message: Message) -> None:
        """Say that the sensors are online when the will message of an older connection has said that they aren't."""
        self._connection.acknowledge(message)
        if self.home is not None and message.payload == OFFLINE:
            with self.order:
                if not self._closing:
                    self.send([self.home.availability(ONLINE)])

    def _require(self) -> SessionInfo:
        self._wait_for_connection()
        session = self._connection.session
        if self._closing:
            raise UnreachableError(f"the client for the broker {self.broker} is closed")
        if session is None:
            reason = self._unavailable or f"not connected yet to the broker {self.broker}"
            raise UnreachableError(reason, hint="check that the broker runs")
        return session

    def _wait_for_connection(self) -> None:
        """Wait until there is a connection, or until it is known why there is none."""
        with self._state:
            self._state.wait_for(
                lambda: self._closing or self._unavailable or self._connection.session is not None, CONNECT_S
            )

    def _notify(self, _: object) -> None:
        with self._state:
            self._state.notify_all()


MAX_NAME = 40


def build_link(url: str, settings: MqttTriggerSettings, *, site: str, app: str, clock: Clock = SYSTEM) -> BrokerLink:
    """Return a broker link to the broker of a trigger's url; the broker link connects when it is started.

    Each process uses a different client id, because no session is kept for it: with the same id, two machines with the
    same names would disconnect each other.

    Args:
        url: URL of the trigger, which `find_url_fault` accepts.
        settings: Settings of the trigger's `mqtt` section.
        site: Name of the site.
        app: Name of the app, which is also its function's name.
        clock: Clock for monotonic time.
    """
    home = HomeAssistant(site=site, app=app, prefix=settings.discovery_prefix, clock=clock)
    connection = ConnectionSettings(
        address=parse_address(broker_url(url)),
        client_id=f"eaves-{site[:MAX_NAME]}-{app[:MAX_NAME]}-{secrets.token_hex(4)}",
        credentials=settings.credentials,
        version=cast(Version, settings.version),
    )
    return BrokerLink(connection, home=home if settings.home_assistant else None, clock=clock)
