"""Connection to an MQTT broker that is made again whenever it ends, for as long as the process lives.

The network loop runs on a thread of this module, by paho's `loop`. paho's own thread can't be used: its reconnection
falls back to MQTT 3.1, which no broker needs, but not to 3.1.1, and it shows no sign of life while it hangs.
"""

from __future__ import annotations

import contextvars
import logging
import random
import threading
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import cast

from paho.mqtt.client import Client as PahoClient
from paho.mqtt.client import ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from eaves.base.backoff import Backoff
from eaves.base.clock import SYSTEM, Clock, StopFlag
from eaves.errors import ConfigError, DeliveryError, UnreachableError
from eaves.mqtt.client import (
    SHUTTING_DOWN,
    UNSUPPORTED_VERSION,
    BoundedClient,
    build_client,
    connect,
    describe_error,
    describe_refusal,
)
from eaves.mqtt.message import Acknowledgement, ConnectionSettings, Message, Publication, SessionInfo

BACKOFF = Backoff(retry=None, first_s=0.5, cap_s=30.0)
STEADY_S = 2.0
"""Minimum duration of a connection, seconds, for the pause before the next one to be the shortest again. Two clients
with the same client id disconnect each other; because of this minimum they do so every few seconds and not
continuously."""
UNANSWERED = 3
"""Number of connections in a row that a broker closes without an answer before the other MQTT version is tried."""
JOIN_S = 2.0
STUCK_S = 300.0
"""Time after which the connection's thread counts as hung when it has neither run its network loop nor tried to
connect, seconds. A DNS lookup, connecting and the pause before the next attempt take a minute and a half together at
most."""
LOOP_S = 1.0
"""Maximum wait for the network before the time limits are checked, seconds."""
CLOSING_S = 1.0
"""Time limit for writing the pending data when a connection ends, seconds; acknowledgements are written first."""
MAX_IN_FLIGHT = 20
"""Maximum number of publications that wait for their acknowledgement; a broker may ask for fewer."""
PACKET_TOO_LARGE = 0x95
_SPELLED = {MQTTProtocolVersion.MQTTv5: "5", MQTTProtocolVersion.MQTTv311: "3.1.1"}

_log = logging.getLogger(__name__)


class ConnectionListener:
    """Interface of an object whose methods a `BrokerConnection` calls when something happens on the connection.

    The methods are called on the connection's thread and must not wait, because that thread answers the broker's
    keepalive.

    An exception is a bug: it is logged with its traceback and ends the connection, which is made again.
    """

    def connected(self, session: SessionInfo) -> None:
        """Handle a connection that the broker has accepted."""

    def lost(self) -> None:
        """Handle the end of a connection for which the broker gave no reason; it is made again after a short pause."""

    def unavailable(self, reason: str) -> None:
        """Handle a failed attempt to connect, or the end of a connection for which the broker gave a reason.

        `reason` is a sentence without credentials.
        """

    def subscribed(self, refused: Sequence[str]) -> None:
        """Handle the broker's answer to a subscription.

        `refused` has the filters that it doesn't allow, with the reason.
        """

    def received(self, message: Message) -> None:
        """Handle a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """Why a connection ended.

    Attributes:
        reason: A sentence; empty when none was given, or when this process ended the connection.
        unsupported: Whether the broker doesn't support this version of the protocol.
        unanswered: Whether the connection was closed before the broker answered CONNECT.
    """

    reason: str = ""
    unsupported: bool = False
    unanswered: bool = False


class BrokerConnection:
    """Connection to one broker, made again after growing pauses whenever it ends.

    Args:
        settings: Settings of the connection.
        listener: Callbacks.
        clock: Wall clock and monotonic clock.
        stuck_s: Time without a sign of life after which the connection's thread counts as hung, seconds. It is real
            time, whatever `clock` says, because the operations that the thread waits for take real time.

    Attributes:
        connections: Number of connections that a broker has accepted since the start.
        reason: Why there is no connection; empty while there is one, and before the first attempt has failed.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        listener: ConnectionListener,
        *,
        clock: Clock = SYSTEM,
        stuck_s: float = STUCK_S,
    ) -> None:
        self.connections = 0
        self.reason = ""
        self.settings = settings
        self.listener = listener
        self.clock = clock
        self._stuck_s = stuck_s
        self._turned_at = SYSTEM.monotonic()
        self._stopping = StopFlag(clock)
        self._attempt: _Attempt | None = None
        self._attempts = 0
        self._unanswered = 0
        self.protocol = MQTTProtocolVersion.MQTTv311 if settings.version == "3.1.1" else MQTTProtocolVersion.MQTTv5
        self._logged: set[str] = set()
        # The thread has the caller's context, so its log records have the caller's fields.
        run = partial(contextvars.copy_context().run, self._run)
        self._thread = threading.Thread(target=run, name=f"mqtt-{settings.client_id}", daemon=True)

    @property
    def session(self) -> SessionInfo | None:
        """Current connection as the broker has accepted it; None without a connection."""
        attempt = self._attempt
        return attempt.session if attempt else None

    def start(self) -> None:
        """Start the thread that connects and stays connected."""
        self.turn()
        self._thread.start()

    def stop(self) -> None:
        """End the connection and make no other; waits at most 2 s."""
        self._stopping.set()
        self.reconnect()
        if self._thread.is_alive():
            self._thread.join(JOIN_S)

    def is_alive(self) -> bool:
        """Return whether the connection's thread runs and shows signs of life."""
        return self._thread.is_alive() and SYSTEM.monotonic() - self._turned_at < self._stuck_s

    def reconnect(self) -> None:
        """End the connection and make another, so that the broker sends all unacknowledged messages again."""
        if (attempt := self._attempt) is not None:
            attempt.close()

    def subscribe(self, filters: Sequence[str], *, retained: bool = False) -> None:
        """Subscribe with QoS 1. Called in `connected`, because a subscription may be lost with its session.

        Args:
            filters: Topic filters, with wildcards allowed.
            retained: Whether the broker sends the messages that it has retained from before a new subscription. A
                broker with MQTT 3.1.1 sends them in any case, at every subscription.
        """
        if (attempt := self._attempt) is not None:
            attempt.subscribe(filters, retained=retained)

    def acknowledge(self, message: Message) -> bool:
        """Acknowledge a message that is stored, in the order of arrival.

        Returns:
            False when the connection that the message arrived on has ended. The broker sends it again then, unless it
            has lost the session.
        """
        attempt = self._attempt
        return attempt is not None and attempt.acknowledge(message)

    def publish(self, publication: Publication) -> Future[Acknowledgement]:
        """Send a message with QoS 1. May be called from any thread.

        Returns:
            The broker's answer. It fails with UnreachableError when there is no connection, or when the connection ends
            before the broker has answered; the message may have arrived then. It fails with DeliveryError when no more
            messages may wait for an answer.
        """
        if (attempt := self._attempt) is not None:
            return attempt.publish(publication)
        future: Future[Acknowledgement] = Future()
        _fail(future)
        return future

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            began = self.clock.monotonic()
            accepted_before = self.connections
            self.turn()
            self._attempts += 1
            self._attempt = attempt = _Attempt(self, self._attempts)
            if self._stopping.is_set():
                return
            try:
                end = attempt.run()
            except Exception as error:  # noqa: BLE001 - another connection is made, whatever a message caused
                self._log_once(error)
                end = _End(reason=f"the connection failed with {type(error).__name__}; see the log")
            self._attempt = None
            if self._stopping.is_set():
                return
            accepted = self.connections > accepted_before
            if self._choose_protocol(end, accepted=accepted):
                continue
            steady = accepted and self.clock.monotonic() - began >= STEADY_S
            failures = 1 if steady or attempt.closing else failures + 1
            if not attempt.closing:
                try:
                    self._report_end(end, accepted=accepted, failures=failures)
                except Exception as error:  # noqa: BLE001 - the thread continues, whatever a listener raises
                    self._log_once(error)
            self._stopping.wait(BACKOFF.pause_s(failures, jitter=random.random()))  # noqa: S311

    def turn(self) -> None:
        """Note a sign of life of the connection's thread."""
        self._turned_at = SYSTEM.monotonic()

    def _report_end(self, end: _End, *, accepted: bool, failures: int) -> None:
        endpoint = self.settings.address.endpoint
        if not end.reason and accepted and failures < UNANSWERED:
            self.reason = f"the connection to the broker {endpoint} was lost"
            self.listener.lost()
            return
        self.reason = end.reason or f"the broker {endpoint} accepts each connection and closes it shortly afterwards"
        self.listener.unavailable(self.reason)

    def _choose_protocol(self, end: _End, *, accepted: bool) -> bool:
        """Choose the MQTT version for the next attempt: 5 after a good connection, 3.1.1 for a broker without MQTT 5.

        Returns:
            Whether the next attempt may follow at once.
        """
        if self.settings.version != "auto":
            return False
        self._unanswered = self._unanswered + 1 if end.unanswered else 0
        tried_5 = self.protocol == MQTTProtocolVersion.MQTTv5
        if accepted:
            self.protocol = MQTTProtocolVersion.MQTTv5
        elif end.unsupported or self._unanswered >= UNANSWERED:
            self._unanswered = 0
            self.protocol = MQTTProtocolVersion.MQTTv311 if tried_5 else MQTTProtocolVersion.MQTTv5
        return end.unsupported and tried_5

    def _log_once(self, error: Exception) -> None:
        traceback = error.__traceback__
        while traceback is not None and traceback.tb_next is not None:
            traceback = traceback.tb_next
        place = f"{type(error).__name__} {traceback.tb_frame.f_code.co_filename if traceback else ''}"
        place += f":{traceback.tb_lineno if traceback else 0}"
        if place not in self._logged:
            self._logged.add(place)
            _log.error("a connection failed; it is opened again, and this error is not logged again", exc_info=error)


class _Attempt:
    """One connection to the broker, from CONNECT to its end.

    `run` is for the connection's thread; any thread may call the methods without an underscore.
    """

    def __init__(self, connection: BrokerConnection, number: int) -> None:
        self.closing = False
        self._connection = connection
        self._number = number
        self._settings = connection.settings
        self._listener = connection.listener
        self._protocol = connection.protocol
        self._client: BoundedClient | None = None
        self._accepted: SessionInfo | None = None
        self._refusal: ReasonCode | None = None
        self._ended = False
        self._filters: dict[int, list[str]] = {}
        self._unconfirmed: dict[int, Future[Acknowledgement]] = {}

    @property
    def session(self) -> SessionInfo | None:
        """Connection as the broker has accepted it; None before the connection is accepted and after it has ended."""
        return None if self._ended else self._accepted

    def run(self) -> _End:
        """Connect, and serve the connection until it ends."""
        client = None
        try:
            self._client = client = build_client(self._settings, self._protocol)
            client.on_connect = self._on_connect
            client.on_disconnect = self._on_disconnect
            client.on_message = self._on_message
            client.on_subscribe = self._on_subscribe
            client.on_publish = self._on_publish
            if not self.closing:
                connect(client, self._settings, self._protocol)
                self._serve(client)
            return self._build_end(client.failure)
        except (OSError, ConfigError) as error:
            return _End(reason=describe_error(error, self._settings))
        finally:
            self._ended = True
            if client is not None:
                client.close()
            for future in list(self._unconfirmed.values()):
                _fail(future)

    def close(self) -> None:
        """End the connection after the pending data is written."""
        self.closing = True
        if self._client is not None:
            # The session's own thread may close the client's sockets at this moment; the connection has ended then.
            with suppress(OSError):
                self._client.disconnect()

    def subscribe(self, filters: Sequence[str], *, retained: bool) -> None:
        """Subscribe, as `BrokerConnection.subscribe` says."""
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
        """Acknowledge a message, as `BrokerConnection.acknowledge` says."""
        if self._client is None or self._ended or message.session != self._number or message.qos == 0:
            return False
        return self._client.ack(message.packet_id, message.qos) == MQTTErrorCode.MQTT_ERR_SUCCESS

    def publish(self, publication: Publication) -> Future[Acknowledgement]:
        """Send a message, as `BrokerConnection.publish` says."""
        future: Future[Acknowledgement] = Future()
        if self._client is None or self.session is None:
            _fail(future)
            return future
        properties = _build_properties(publication) if self._protocol == MQTTProtocolVersion.MQTTv5 else None
        sent = self._client.publish(
            publication.topic, publication.payload, 1, retain=publication.retain, properties=properties
        )
        if sent.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:  # its packet id belongs to a message that isn't answered yet
            future.set_exception(DeliveryError("too many messages wait for the broker's acknowledgement"))
            return future
        future = self._unconfirmed.setdefault(sent.mid, future)  # the answer may have come already
        future.add_done_callback(lambda _: self._unconfirmed.pop(sent.mid, None))
        if self._ended:
            _fail(future)
        return future

    def _serve(self, client: BoundedClient) -> None:
        clock = self._connection.clock
        answer_by = clock.monotonic() + self._settings.connect_timeout_s
        end_by: float | None = None
        while client.loop(LOOP_S) == MQTTErrorCode.MQTT_ERR_SUCCESS and client.socket() is not None:
            self._connection.turn()
            now = clock.monotonic()
            if self._accepted is None and now > answer_by:
                raise TimeoutError
            if self.closing:
                end_by = now + CLOSING_S if end_by is None else end_by
                if now > end_by:
                    return

    def _build_end(self, failure: OSError | None) -> _End:
        broker = f"the broker {self._settings.address.endpoint}"
        if self.closing:
            return _End()
        if self._refusal is not None and self._refusal.value == UNSUPPORTED_VERSION:
            return _End(reason=f"{broker} doesn't support MQTT {_SPELLED[self._protocol]}", unsupported=True)
        if self._refusal is not None:
            return _End(reason=describe_refusal(self._refusal, self._settings))
        if self._accepted is not None:
            return _End()
        if failure is not None and not isinstance(failure, ConnectionError):
            return _End(reason=describe_error(failure, self._settings))
        return _End(reason=f"{broker} closed the connection without an answer", unanswered=True)

    def _on_connect(
        self, client: PahoClient, _: object, flags: ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code.is_failure:
            self._refusal = code
            return
        if self.closing:
            return
        _own(client).limit_publications(min(MAX_IN_FLIGHT, getattr(properties, "ReceiveMaximum", MAX_IN_FLIGHT)))
        self._accepted = SessionInfo(
            number=self._number,
            present=flags.session_present,
            version=_SPELLED[self._protocol],
            max_packet_bytes=getattr(properties, "MaximumPacketSize", None),
        )
        self._connection.connections += 1
        self._connection.reason = ""
        self._listener.connected(self._accepted)

    def _on_disconnect(
        self, _: PahoClient, __: object, flags: DisconnectFlags, code: ReasonCode, ___: Properties | None
    ) -> None:
        if flags.is_disconnect_packet_from_server and code.value != SHUTTING_DOWN:  # it may restart at once
            self._refusal = code

    def _on_message(self, client: PahoClient, _: object, received: MQTTMessage) -> None:
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
        self._listener.received(message)

    def _on_subscribe(
        self, _: PahoClient, __: object, packet_id: int, codes: list[ReasonCode], ___: Properties | None
    ) -> None:
        filters = self._filters.pop(packet_id, [])
        refused = [
            f"{topic} ({str(code).lower()})" for topic, code in zip(filters, codes, strict=False) if code.is_failure
        ]
        self._listener.subscribed(refused)

    def _on_publish(
        self, client: PahoClient, _: object, packet_id: int, code: ReasonCode, __: Properties | None
    ) -> None:
        unlisted = _own(client).unlisted_code
        name = "packet too large" if unlisted == PACKET_TOO_LARGE else str(code).lower()
        future = self._unconfirmed.setdefault(packet_id, Future())  # `publish` may not have made it yet
        with suppress(InvalidStateError):
            future.set_result(Acknowledgement(code=unlisted or code.value, name=name))


def _own(client: PahoClient) -> BoundedClient:
    """Return the same client as a BoundedClient; paho's callbacks declare it with its base class only."""
    return cast(BoundedClient, client)


def _fail(future: Future[Acknowledgement]) -> None:
    with suppress(InvalidStateError):
        future.set_exception(UnreachableError("the connection to the broker is down"))


def _build_properties(publication: Publication) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    if publication.content_type:
        properties.ContentType = publication.content_type
    if publication.user_properties:
        properties.UserProperty = list(publication.user_properties)
    return properties
