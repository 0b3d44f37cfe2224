"""Connection to an MQTT broker that is made again whenever it ends, for as long as the process lives.

The network loop runs on a thread of this module, by paho's `loop`. paho's own thread can't be used: it keeps the reason
of a failed connection to itself, and its reconnection falls back to MQTT 3.1, which no broker needs, but not to 3.1.1.
"""

from __future__ import annotations

import contextvars
import logging
import random
import ssl
import threading
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from eaves.base.backoff import UNLIMITED
from eaves.base.clock import SYSTEM, Clock, StopFlag
from eaves.credentials import Credentials, build_fault, read_credentials
from eaves.errors import ConfigError, DeliveryError, UnreachableError
from eaves.http_client.explain import CERTIFICATE as NOT_TRUSTED
from eaves.http_client.explain import TLS, explain
from eaves.http_client.trust import build_tls_context
from eaves.logs import log_once
from eaves.plugins.mqtt.message import (
    Acknowledgement,
    ConnectionListener,
    ConnectionSettings,
    Message,
    Publication,
    SessionInfo,
)

STEADY_S = 2.0
"""Minimum duration of a connection, seconds, for the pause before the next one to be the shortest again. Two clients
with the same client id disconnect each other; because of this minimum they do so every few seconds and not
continuously."""
JOIN_S = 2.0
LOOP_S = 1.0
"""Maximum wait for the network before the time limits are checked, seconds."""
CLOSING_S = 1.0
"""Time limit for writing the pending data when a connection ends, seconds; acknowledgements are written first."""
MAX_IN_FLIGHT = 20
"""Maximum number of publications that wait for their acknowledgement; a broker may ask for fewer."""
PIECE_BYTES = 65_536
KEPT_BYTES = 262_144
"""Number of bytes that are kept from the beginning of a packet that is too large: enough for its topic and
properties."""
PUBACK_CODES = frozenset({0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99})
"""Valid reason codes of PUBACK. Source: MQTT 5.0, section 3.4.2.1, PUBACK Reason Code."""
UNSPECIFIED, UNSUPPORTED_VERSION, BAD_CREDENTIALS, NOT_AUTHORIZED = 0x80, 0x84, 0x86, 0x87
SHUTTING_DOWN, TAKEN_OVER, PACKET_TOO_LARGE = 0x8B, 0x8E, 0x95
"""Reason codes of MQTT 5; paho translates the return codes of MQTT 3.1.1's CONNACK to them.
Source: MQTT 5.0, section 2.4, Reason Code."""
_V5, _V311 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311
_SPELLED = {_V5: "5", _V311: "3.1.1"}

_log = logging.getLogger(__name__)


class BrokerConnection:
    """Connection to one broker, made again after growing pauses whenever it ends.

    Args:
        settings: Settings of the connection.
        listener: Callbacks.
        clock: Wall clock and monotonic clock.

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
    ) -> None:
        self.connections = 0
        self.reason = ""
        self.settings = settings
        self.listener = listener
        self.clock = clock
        self.protocol = _V311 if settings.version == "3.1.1" else _V5
        self._stopping = StopFlag(clock)
        self._client: BrokerClient | None = None
        self._attempts = 0
        self._logged: set[object] = set()
        # The thread has the caller's context, so its log records have the caller's fields.
        run = partial(contextvars.copy_context().run, self._run)
        self._thread = threading.Thread(target=run, name=f"mqtt-{settings.client_id}", daemon=True)

    @property
    def session(self) -> SessionInfo | None:
        """Current connection as the broker has accepted it; None without a connection."""
        client = self._client
        return None if client is None or client.over else client.accepted

    def start(self) -> None:
        """Start the thread that connects and stays connected."""
        self._thread.start()

    def stop(self) -> None:
        """End the connection and make no other; waits at most 2 s."""
        self._stopping.set()
        self.reconnect()
        if self._thread.is_alive():
            self._thread.join(JOIN_S)

    def is_alive(self) -> bool:
        """Return whether the connection's thread runs."""
        return self._thread.is_alive()

    def reconnect(self) -> None:
        """End the connection and make another, so that the broker sends all unacknowledged messages again."""
        if (client := self._client) is not None:
            client.closing = True
            client.disconnect()

    def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe with QoS 1. Called in `connected`, because a subscription may be lost with its session.

        Messages that the broker has retained aren't asked for; one with MQTT 3.1.1 sends them at every subscription.

        Args:
            filters: Topic filters, with wildcards allowed.
        """
        if (client := self._client) is None:
            return
        if client.protocol == _V5:
            options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
            _, packet_id = client.subscribe([(topic, options) for topic in filters])
        else:
            _, packet_id = client.subscribe([(topic, 1) for topic in filters])
        if packet_id is not None:
            client.filters[packet_id] = list(filters)

    def acknowledge(self, message: Message) -> bool:
        """Acknowledge a message that is stored, in the order of arrival.

        Returns:
            False when the connection that the message arrived on has ended. The broker sends it again then, unless it
            has lost the session.
        """
        client = self._client
        if client is None or client.over or message.session != client.number or message.qos == 0:
            return False
        return client.ack(message.packet_id, message.qos) == MQTTErrorCode.MQTT_ERR_SUCCESS

    def publish(self, publication: Publication) -> Future[Acknowledgement]:
        """Send a message with QoS 1. May be called from any thread.

        Returns:
            The broker's answer. It fails with UnreachableError when there is no connection, or when the connection ends
            before the broker has answered; the message may have arrived then. It fails with DeliveryError when no more
            messages may wait for an answer.
        """
        future: Future[Acknowledgement] = Future()
        client = self._client
        if client is None or client.over or client.accepted is None:
            _fail(future)
            return future
        properties = _build_properties(publication) if client.protocol == _V5 else None
        sent = client.publish(
            publication.topic, publication.payload, 1, retain=publication.retain, properties=properties
        )
        if sent.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:  # its packet id belongs to a message that isn't answered yet
            future.set_exception(DeliveryError("too many messages wait for the broker's acknowledgement"))
            return future
        unconfirmed = client.unconfirmed
        future = unconfirmed.setdefault(sent.mid, future)  # the answer may have come already
        future.add_done_callback(lambda _: unconfirmed.pop(sent.mid, None))
        if client.over:
            _fail(future)
        return future

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            began, accepted_before, client = self.clock.monotonic(), self.connections, None
            self._attempts += 1
            try:
                self._client = client = BrokerClient(self, self._attempts)
                if self._stopping.is_set():
                    return
                reason = client.serve()
            except ConfigError as error:
                reason = str(error)
            except Exception as error:  # noqa: BLE001 - another connection is made, whatever a message caused
                self._log_once(error)
                reason = f"the connection failed with {type(error).__name__}; see the log"
            self._client = None
            if self._stopping.is_set():
                return
            accepted = self.connections > accepted_before
            if self._fall_back(client):
                continue
            closing = client is not None and client.closing
            steady = accepted and self.clock.monotonic() - began >= STEADY_S
            failures = 1 if steady or closing else failures + 1
            if not closing:
                try:
                    self._report_end(reason, accepted=accepted)
                except Exception as error:  # noqa: BLE001 - the thread continues, whatever a listener raises
                    self._log_once(error)
            self._stopping.wait(UNLIMITED.pause_s(failures, jitter=random.random()))  # noqa: S311

    def _report_end(self, reason: str, *, accepted: bool) -> None:
        self.reason = reason or f"the connection to the broker {self.settings.address.endpoint} was lost"
        if accepted and not reason:
            self.listener.lost()
        else:
            self.listener.unavailable(self.reason)

    def _fall_back(self, client: BrokerClient | None) -> bool:
        """Use MQTT 3.1.1 from now on with a broker that refuses 5; return whether to connect again at once."""
        refusal = client.refusal if client is not None else None
        if refusal is None or refusal.value != UNSUPPORTED_VERSION or self.settings.version != "auto":
            return False
        tried_5, self.protocol = self.protocol == _V5, _V311
        return tried_5

    def _log_once(self, error: Exception) -> None:
        text = "a connection failed; it is opened again, and this error is not logged again"
        log_once(_log, self._logged, error, text)


class BrokerClient(paho.Client):
    """One connection to the broker, from CONNECT to its end; it keeps only the beginning of a packet that is too large.

    A broker that speaks MQTT 3.1.1 can't be given a limit, and would send a message that ends the process for lack of
    memory again forever.

    The class relies on private parts of paho-mqtt 2.2: `_sock_recv` is its only way of reading,
    `_packet_queue` takes each packet to write, and `_handle_pubackcomp` handles the packet whose state is `_in_packet`.

    Attributes:
        number: Number of the connection within its `BrokerConnection`.
        accepted: The connection as the broker has accepted it; None before.
        refusal: Reason code with which the broker refused or ended the connection.
        closing: Whether this side ends the connection.
        over: Whether the connection has ended.
        filters: Filters of subscriptions that aren't answered yet, by packet id.
        unconfirmed: Publications that aren't acknowledged yet, by packet id.

    Raises:
        ConfigError: When the credentials can't be read or used; the message names the files, not their content.
    """

    def __init__(self, owner: BrokerConnection, number: int) -> None:
        settings = owner.settings
        credentials = read_credentials(settings.credentials)
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            protocol=owner.protocol,
            clean_session=None if owner.protocol == _V5 else settings.session_expiry_s == 0,
            reconnect_on_failure=False,  # with True, paho falls back to MQTT 3.1 by itself
            manual_ack=True,
        )
        self.number = number
        self.accepted: SessionInfo | None = None
        self.refusal: ReasonCode | None = None
        self.closing = self.over = False
        self.filters: dict[int, list[str]] = {}
        self.unconfirmed: dict[int, Future[Acknowledgement]] = {}
        self._owner = owner
        self._failure: OSError | None = None
        self._unlisted_code = 0
        # Only the thread that runs `loop` writes to the socket: two concurrent writers would mix their packets.
        self.on_socket_register_write = lambda *_: None
        self.on_connect = self._accept
        self.on_disconnect = self._end
        self.on_message = self._receive
        self.on_subscribe = self._confirm_subscription
        self.on_publish = self._confirm
        self.connect_timeout = settings.connect_timeout_s
        username = credentials.username or settings.address.username
        password = credentials.password or settings.address.password
        if username or password:
            self.username_pw_set(username, password or None)
        if settings.will is not None:
            self.will_set(settings.will.topic, settings.will.payload, 1, retain=settings.will.retain)
        if settings.address.tls:
            self.tls_set_context(_build_tls_context(credentials, settings.credentials))

    def serve(self) -> str:
        """Connect, and serve the connection until it ends; return why, empty when no reason is known."""
        try:
            if not self.closing:
                self._open()
                self._serve_until_end()
            return self._explain_end()
        except OSError as error:
            return describe_error(error, self._owner.settings)
        finally:
            self.over = True
            self._reset_sockets()
            for future in list(self.unconfirmed.values()):
                _fail(future)

    def _open(self) -> None:
        """Connect over TCP and TLS; the next `loop` sends CONNECT."""
        settings = self._owner.settings
        host, port, keepalive_s = settings.address.host, settings.address.port, settings.keepalive_s
        if self.protocol != _V5:
            self.connect(host, port, keepalive_s)
            return
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = settings.session_expiry_s
        properties.ReceiveMaximum = settings.receive_maximum
        properties.MaximumPacketSize = settings.max_packet_bytes
        self.connect(host, port, keepalive_s, clean_start=settings.session_expiry_s == 0, properties=properties)

    def _serve_until_end(self) -> None:
        clock = self._owner.clock
        answer_by = clock.monotonic() + self._owner.settings.connect_timeout_s
        end_by: float | None = None
        while self.loop(LOOP_S) == MQTTErrorCode.MQTT_ERR_SUCCESS and self.socket() is not None:
            now = clock.monotonic()
            if self.accepted is None and now > answer_by:
                raise TimeoutError
            if self.closing:
                end_by = now + CLOSING_S if end_by is None else end_by
                if now > end_by:
                    return

    def _explain_end(self) -> str:
        settings, broker = self._owner.settings, f"the broker {self._owner.settings.address.endpoint}"
        if self.closing:
            return ""
        if self.refusal is not None and self.refusal.value == UNSUPPORTED_VERSION:
            return f"{broker} doesn't support MQTT {_SPELLED[self.protocol]}"
        if self.refusal is not None:
            return describe_refusal(self.refusal, settings)
        if self.accepted is not None:
            return ""
        if self._failure is not None and not isinstance(self._failure, ConnectionError):
            return describe_error(self._failure, settings)  # such as TLS's refusal of a client certificate
        return f"{broker} closed the connection without an answer"

    def _accept(
        self, _: object, __: object, flags: paho.ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code.is_failure:
            self.refusal = code
            return
        if self.closing:
            return
        # paho itself allows a limit only before a connection.
        self._max_inflight_messages = min(MAX_IN_FLIGHT, getattr(properties, "ReceiveMaximum", MAX_IN_FLIGHT))
        self.accepted = SessionInfo(
            present=flags.session_present,
            version=_SPELLED[self.protocol],
            max_packet_bytes=getattr(properties, "MaximumPacketSize", None),
        )
        self._owner.connections += 1
        self._owner.reason = ""
        self._owner.listener.connected(self.accepted)

    def _end(self, _: object, __: object, flags: paho.DisconnectFlags, code: ReasonCode, ___: object) -> None:
        if flags.is_disconnect_packet_from_server and code.value != SHUTTING_DOWN:  # it may restart at once
            self.refusal = code

    def _receive(self, _: object, __: object, received: paho.MQTTMessage) -> None:
        try:
            topic = received.topic
        except UnicodeDecodeError:  # brokers refuse such a topic; unacknowledged, the message would be sent forever
            self.ack(received.mid, received.qos)
            return
        message = Message(
            topic=topic,
            payload=bytes(received.payload),
            qos=received.qos,
            retain=received.retain,
            dup=received.dup,
            packet_id=received.mid,
            session=self.number,
            is_cut=self._is_cut,
            content_type=getattr(received.properties, "ContentType", ""),
            user_properties=tuple(getattr(received.properties, "UserProperty", ())),
        )
        self._owner.listener.received(message)

    def _confirm_subscription(
        self, _: object, __: object, packet_id: int, codes: list[ReasonCode], ___: object
    ) -> None:
        answers = zip(self.filters.pop(packet_id, []), codes, strict=False)
        refused = [f"{topic} ({str(code).lower()})" for topic, code in answers if code.is_failure]
        self._owner.listener.subscribed(refused)

    def _confirm(self, _: object, __: object, packet_id: int, code: ReasonCode, ___: object) -> None:
        unlisted = self._unlisted_code
        name = "packet too large" if unlisted == PACKET_TOO_LARGE else str(code).lower()
        future = self.unconfirmed.setdefault(packet_id, Future())  # `publish` may not have made it yet
        with suppress(InvalidStateError):
            future.set_result(Acknowledgement(code=unlisted or code.value, name=name))

    @property
    def _is_cut(self) -> bool:
        """Whether only the beginning of the packet that is being read or handled is kept."""
        return self._in_packet["remaining_length"] > self._owner.settings.max_packet_bytes

    def _packet_queue(self, *packet: Any, **info: Any) -> MQTTErrorCode:
        """Queue a packet for the thread that writes, and wake it.

        paho fails when that thread closes its side at this moment, because the connection has ended.
        """
        try:
            return super()._packet_queue(*packet, **info)
        except (OSError, AttributeError):
            return MQTTErrorCode.MQTT_ERR_CONN_LOST

    def _sock_recv(self, bufsize: int) -> bytes:
        try:
            piece = super()._sock_recv(min(bufsize, PIECE_BYTES))
        except BlockingIOError:
            raise
        except OSError as error:
            self._failure = error
            raise
        if self._is_cut:
            del self._in_packet["packet"][KEPT_BYTES:]
        return piece

    def _handle_pubackcomp(self, cmd: Literal["PUBACK", "PUBCOMP"]) -> MQTTErrorCode:
        """Handle an acknowledgement whose reason code MQTT lists for other packets only.

        paho would end the connection for such a code, so it gets `UNSPECIFIED` instead. mosquitto answers 0x95, packet
        too large, beyond its `message_size_limit`.
        """
        packet, self._unlisted_code = self._in_packet["packet"], 0
        if len(packet) > 2 and packet[2] not in PUBACK_CODES:
            self._unlisted_code, packet[2] = packet[2], UNSPECIFIED
        return super()._handle_pubackcomp(cmd)


class _ClosingSocket(ssl.SSLSocket):
    """A TLS socket that closes itself when the handshake fails; paho leaves it open."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def _build_tls_context(credentials: Credentials, folder: Path | None) -> ssl.SSLContext:
    pair = (credentials.certificate, credentials.key) if credentials.certificate and credentials.key else None
    try:
        context = build_tls_context(credentials.authorities_pem, pair)
    except ValueError as error:
        raise build_fault(folder, str(error), f"ls -l {folder}") from error
    context.sslsocket_class = _ClosingSocket
    return context


def describe_refusal(code: ReasonCode, settings: ConnectionSettings) -> str:
    """Return why a broker ended or refused a connection."""
    broker = f"the broker {settings.address.endpoint}"
    if code.value in (BAD_CREDENTIALS, NOT_AUTHORIZED):
        place = f"the files username and password in {settings.credentials}" if settings.credentials else "credentials"
        return f"{broker} refuses the user ({str(code).lower()}); check {place}"
    if code.value == TAKEN_OVER:
        return (
            f"{broker} has given the session to another client named {settings.client_id!r}; set another client_id in "
            "one of the two"
        )
    return f"{broker} ended the connection: {str(code).lower()}"


def describe_error(error: OSError, settings: ConnectionSettings) -> str:
    """Return why a connection failed, from the error that was raised."""
    broker = f"the broker {settings.address.endpoint}"
    if isinstance(error, TimeoutError):
        return f"{broker} doesn't answer"
    found = explain(error)
    why = found.reason.partition(": ")[2]
    if found.kind == NOT_TRUSTED:
        return f"the certificate of {broker} isn't trusted: {why}"
    if found.kind == TLS:
        return f"TLS with {broker} failed: {why}"
    return f"can't connect to {broker}: {found.reason}"


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
