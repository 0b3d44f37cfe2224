"""One connection to an MQTT broker, from CONNECT to its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from paho.mqtt.client import Client as PahoClient
from paho.mqtt.client import ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from eaves.base.clock import Clock
from eaves.errors import ConfigError
from eaves.mqtt.client import BoundedClient, build_client, connect
from eaves.mqtt.message import Acknowledgement, Message, Publication
from eaves.mqtt.publications import MAX_IN_FLIGHT, Publications, fail
from eaves.mqtt.refusals import SHUTTING_DOWN, UNSUPPORTED_VERSION, describe_error, describe_refusal
from eaves.mqtt.settings import ConnectionSettings

LOOP_S = 1.0
"""Maximum wait for the network before the time limits are checked, seconds."""
CLOSING_S = 1.0
"""Time limit for writing the pending data when a connection ends, seconds; acknowledgements are written first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """A connection that a broker has accepted.

    Attributes:
        number: Number of the connection within this process, from 1.
        present: Whether the broker still has the session of an earlier connection, with its subscriptions and messages.
        version: `5` or `3.1.1`.
        max_packet_bytes: Maximum packet size that the broker accepts, bytes; None when it sets no limit.
    """

    number: int
    present: bool
    version: str
    max_packet_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Why and how a connection ended.

    Attributes:
        reason: Reason as a sentence; empty when none was given, or when this process ended the connection.
        unsupported: Whether the broker doesn't support this version of the protocol.
        unanswered: Whether the connection was closed before the broker answered CONNECT.
        wanted: Whether this process ended the connection.
    """

    reason: str = ""
    unsupported: bool = False
    unanswered: bool = False
    wanted: bool = False


class BrokerSession:
    """One connection to a broker. `run` is for the connection's thread; any thread may call the other methods.

    Args:
        number: Number of the connection within this process.
        settings: Settings of the connection.
        protocol: Version of the protocol.
        on_connected: Called in `run` when the broker has accepted the connection.
        on_message: Called in `run` with each message.
        on_subscribed: Called in `run` with the filters that the broker has refused, and why.
        on_turn: Called at each turn of the network loop, as a sign of life.
        clock: Wall clock and monotonic clock.
    """

    def __init__(
        self,
        number: int,
        settings: ConnectionSettings,
        protocol: MQTTProtocolVersion,
        *,
        on_connected: Callable[[SessionInfo], None],
        on_message: Callable[[Message], None],
        on_subscribed: Callable[[Sequence[str]], None],
        on_turn: Callable[[], None],
        clock: Clock,
    ) -> None:
        self._number = number
        self._settings = settings
        self._protocol = protocol
        self._on_connected = on_connected
        self._on_message = on_message
        self._on_subscribed = on_subscribed
        self._on_turn = on_turn
        self._clock = clock
        self._client: BoundedClient | None = None
        self._info: SessionInfo | None = None
        self._refusal: ReasonCode | None = None
        self._unsupported = False
        self._closing = False
        self._ended = False
        self._filters: dict[int, list[str]] = {}
        self._publications = Publications()

    @property
    def info(self) -> SessionInfo | None:
        """Connection as the broker has accepted it; None before the connection is accepted and after it has ended."""
        return None if self._ended else self._info

    def run(self) -> End:
        """Connect, and serve the connection until it ends."""
        client = None
        try:
            self._client = client = build_client(self._settings, self._protocol)
            client.on_connect = self._connected
            client.on_disconnect = self._disconnected
            client.on_message = self._received
            client.on_subscribe = self._subscribed
            client.on_publish = self._published
            if not self._closing:
                connect(client, self._settings, self._protocol)
                self._serve(client)
            return self._build_end(client.failure)
        except (OSError, ConfigError) as error:
            return End(reason=describe_error(error, self._settings))
        finally:
            self._ended = True
            if client is not None:
                client.close()
            self._publications.end()

    def close(self) -> None:
        """End the connection after the pending data is written."""
        self._closing = True
        if self._client is not None:
            # The session's own thread may close the client's sockets at this moment; the connection has ended then.
            with suppress(OSError):
                self._client.disconnect()

    def subscribe(self, filters: Sequence[str], *, retained: bool) -> None:
        """Subscribe with QoS 1.

        Args:
            filters: Topic filters, with wildcards allowed.
            retained: Whether the broker sends the retained messages of these topics, once per new subscription. A
                broker with MQTT 3.1.1 sends them in any case, at every subscription.
        """
        if self._client is None:
            return
        if self._protocol == MQTTProtocolVersion.MQTTv5:
            handling = SubscribeOptions.RETAIN_SEND_IF_NEW_SUB if retained else SubscribeOptions.RETAIN_DO_NOT_SEND
            options = SubscribeOptions(qos=1, retainHandling=handling)
            _, packet_id = self._client.subscribe([(topic, options) for topic in filters])
        else:
            _, packet_id = self._client.subscribe([(topic, 1) for topic in filters])
        if packet_id is not None:
            self._filters[packet_id] = list(filters)

    def acknowledge(self, message: Message) -> bool:
        """Acknowledge a message that is stored.

        Return False when its connection has ended, so it will be sent again.
        """
        if self._client is None or self._ended or message.session != self._number or message.qos == 0:
            return False
        return self._client.ack(message.packet_id, message.qos) == MQTTErrorCode.MQTT_ERR_SUCCESS

    def publish(self, publication: Publication) -> Future[Acknowledgement]:
        """Send a message with QoS 1.

        Returns:
            The broker's answer. It fails with UnreachableError when the connection ends first, and with
            DeliveryError when no more messages may wait for an answer.
        """
        if self._client is None or self.info is None:
            future: Future[Acknowledgement] = Future()
            fail(future)
            return future
        newer = self._protocol == MQTTProtocolVersion.MQTTv5
        return self._publications.send(self._client, publication, with_properties=newer)

    def _serve(self, client: BoundedClient) -> None:
        answer_by = self._clock.monotonic() + self._settings.connect_timeout_s
        end_by: float | None = None
        while client.loop(LOOP_S) == MQTTErrorCode.MQTT_ERR_SUCCESS and client.socket() is not None:
            self._on_turn()
            now = self._clock.monotonic()
            if self._info is None and now > answer_by:
                raise TimeoutError
            if self._closing:
                end_by = now + CLOSING_S if end_by is None else end_by
                if now > end_by:
                    return

    def _build_end(self, failure: OSError | None) -> End:
        if self._closing:
            return End(wanted=True)
        if self._unsupported:
            reason = f"the broker {self._settings.address.endpoint} doesn't support MQTT {_spell(self._protocol)}"
            return End(reason=reason, unsupported=True)
        if self._refusal is not None:
            return End(reason=describe_refusal(self._refusal, self._settings))
        if self._info is not None:
            return End()
        if failure is not None and not isinstance(failure, ConnectionError):
            return End(reason=describe_error(failure, self._settings))
        reason = f"the broker {self._settings.address.endpoint} closed the connection without an answer"
        return End(reason=reason, unanswered=True)

    def _connected(
        self, client: PahoClient, _: object, flags: ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code.is_failure:
            self._unsupported = code.value == UNSUPPORTED_VERSION
            self._refusal = code
            return
        if self._closing:
            return
        _own(client).limit_publications(min(MAX_IN_FLIGHT, getattr(properties, "ReceiveMaximum", MAX_IN_FLIGHT)))
        self._info = SessionInfo(
            number=self._number,
            present=flags.session_present,
            version=_spell(self._protocol),
            max_packet_bytes=getattr(properties, "MaximumPacketSize", None),
        )
        self._on_connected(self._info)

    def _disconnected(
        self, _: PahoClient, __: object, flags: DisconnectFlags, code: ReasonCode, ___: Properties | None
    ) -> None:
        if flags.is_disconnect_packet_from_server and code.value != SHUTTING_DOWN:  # it may restart at once
            self._refusal = code

    def _received(self, client: PahoClient, _: object, received: MQTTMessage) -> None:
        bounded, properties = _own(client), received.properties
        try:
            topic = received.topic
        except UnicodeDecodeError:  # brokers refuse such a topic; unacknowledged, the message would be sent forever
            client.ack(received.mid, received.qos)
            return
        message = Message(
            topic=topic,
            payload=bytes(received.payload),
            qos=received.qos,
            retain=received.retain,
            dup=received.dup,
            packet_id=received.mid,
            session=self._number,
            size_bytes=bounded.packet_bytes,
            cut=bounded.packet_is_cut,
            content_type=getattr(properties, "ContentType", ""),
            user_properties=tuple(getattr(properties, "UserProperty", ())),
        )
        self._on_message(message)

    def _subscribed(
        self, _: PahoClient, __: object, packet_id: int, codes: list[ReasonCode], ___: Properties | None
    ) -> None:
        filters = self._filters.pop(packet_id, [])
        refused = [
            f"{topic} ({str(code).lower()})" for topic, code in zip(filters, codes, strict=False) if code.is_failure
        ]
        self._on_subscribed(refused)

    def _published(
        self, client: PahoClient, _: object, packet_id: int, code: ReasonCode, __: Properties | None
    ) -> None:
        self._publications.resolve(packet_id, code, unlisted_code=_own(client).unlisted_code)


def _own(client: PahoClient) -> BoundedClient:
    """Return the same client as a BoundedClient; paho's callbacks declare it with its base class only."""
    return cast(BoundedClient, client)


def _spell(protocol: MQTTProtocolVersion) -> str:
    return "5" if protocol == MQTTProtocolVersion.MQTTv5 else "3.1.1"
