"""paho's client with a limit on the size of a packet, built for one connection; a broker's refusals as sentences."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Literal

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from eaves.credentials.folder import AUTHORITIES, Credentials, read_credentials
from eaves.errors import ConfigError, Fault
from eaves.http_client.trust import build_tls_context
from eaves.mqtt.message import ConnectionSettings

KEPT_BYTES = 262_144
"""Number of bytes that are kept from the beginning of a packet that is too large: enough for its topic and
properties."""
_PIECE_BYTES = 65_536
PUBACK_CODES = frozenset({0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99})
"""Valid reason codes of PUBACK. Source: MQTT 5.0, section 3.4.2.1, PUBACK Reason Code."""
UNSPECIFIED = 0x80
UNSUPPORTED_VERSION = 0x84
BAD_CREDENTIALS, NOT_AUTHORIZED = 0x86, 0x87
SHUTTING_DOWN = 0x8B
TAKEN_OVER = 0x8E
"""Reason codes of MQTT 5 that `describe_refusal` explains. paho translates the return codes of MQTT 3.1.1's CONNACK to
reason codes.
Source: MQTT 5.0, section 2.4, Reason Code."""


class BoundedClient(paho.Client):
    """A client that keeps only the beginning of a packet that is too large.

    paho reads a packet of any size into memory, and a broker that speaks MQTT 3.1.1 can't be given a limit. A message
    that was read can be acknowledged, while one that breaks the connection is sent again forever.

    The class relies on private parts of paho-mqtt 2.2: `_sock_recv` is its only way of reading, called for the rest of
    the packet whose state is `_in_packet`. The message of 200 MB in tests/integration/mqtt/test_agent.py fails when
    that changes.

    Args:
        client_id: Name under which the broker keeps the session.
        protocol: Version of the protocol.
        max_packet_bytes: Maximum size of a packet that is kept whole, bytes.
        session: Whether the broker keeps a session.

    Attributes:
        failure: Error of a read from the connection, such as TLS's refusal of a client certificate; None without one.
        unlisted_code: Reason code of the current acknowledgement when MQTT lists it for other packets
            only, else 0. mosquitto answers 0x95, packet too large, beyond its `message_size_limit`.
    """

    def __init__(self, *, client_id: str, protocol: MQTTProtocolVersion, max_packet_bytes: int, session: bool) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=protocol,
            clean_session=None if protocol == MQTTProtocolVersion.MQTTv5 else not session,
            reconnect_on_failure=False,  # with True, paho falls back to MQTT 3.1 by itself
            manual_ack=True,
        )
        self.on_socket_register_write = _leave_to_loop
        self.failure: OSError | None = None
        self.unlisted_code = 0
        self._max_packet_bytes = max_packet_bytes

    @property
    def packet_bytes(self) -> int:
        """Size of the packet that is being read or handled, bytes."""
        return self._in_packet["remaining_length"]

    @property
    def packet_is_cut(self) -> bool:
        """Whether only the beginning of the packet that is being read or handled is kept."""
        return self.packet_bytes > self._max_packet_bytes

    def limit_publications(self, limit: int) -> None:
        """Limit the publications that wait for their acknowledgement.

        Paho itself allows this only before a connection.
        """
        self._max_inflight_messages = limit

    def close(self) -> None:
        """Close the connection at once."""
        self._reset_sockets()

    def _sock_recv(self, bufsize: int) -> bytes:
        try:
            piece = super()._sock_recv(min(bufsize, _PIECE_BYTES) if self.packet_is_cut else bufsize)
        except BlockingIOError:
            raise
        except OSError as error:
            self.failure = error
            raise
        if self.packet_is_cut:
            del self._in_packet["packet"][KEPT_BYTES:]
        return piece

    def _handle_pubackcomp(self, cmd: Literal["PUBACK", "PUBCOMP"]) -> MQTTErrorCode:
        """Handle an acknowledgement whose reason code MQTT may not list for it.

        paho would end the connection for such a code, so it gets `UNSPECIFIED` instead, and `unlisted_code` keeps it.
        """
        packet, self.unlisted_code = self._in_packet["packet"], 0
        if len(packet) > 2 and packet[2] not in PUBACK_CODES:
            self.unlisted_code, packet[2] = packet[2], UNSPECIFIED
        return super()._handle_pubackcomp(cmd)


def _leave_to_loop(*_: object) -> None:
    """Do nothing when paho asks for a write, so that only the thread that runs `loop` writes to the socket.

    Two concurrent writers would mix their packets.
    """


class _ClosingSocket(ssl.SSLSocket):
    """A TLS socket that closes itself when the handshake fails; paho leaves it open."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def build_client(settings: ConnectionSettings, protocol: MQTTProtocolVersion) -> BoundedClient:
    """Build a client that isn't connected yet.

    Raises:
        ConfigError: When the credentials can't be read or used; the message names the files, not their content.
    """
    credentials = read_credentials(settings.credentials)
    client = BoundedClient(
        client_id=settings.client_id,
        protocol=protocol,
        max_packet_bytes=settings.max_packet_bytes,
        session=settings.session_expiry_s > 0,
    )
    client.connect_timeout = settings.connect_timeout_s
    username = credentials.username or settings.address.username
    password = credentials.password or settings.address.password
    if username or password:
        client.username_pw_set(username, password or None)
    if settings.will is not None:
        client.will_set(settings.will.topic, settings.will.payload, 1, retain=settings.will.retain)
    if settings.address.tls:
        client.tls_set_context(_build_tls_context(credentials, settings.credentials))
    return client


def connect(client: BoundedClient, settings: ConnectionSettings, protocol: MQTTProtocolVersion) -> None:
    """Connect over TCP and TLS; the next `loop` sends CONNECT.

    Raises:
        OSError: When the connection or its TLS fails.
    """
    host, port, keepalive_s = settings.address.host, settings.address.port, settings.keepalive_s
    if protocol != MQTTProtocolVersion.MQTTv5:
        client.connect(host, port, keepalive_s)
        return
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = settings.session_expiry_s
    properties.ReceiveMaximum = settings.receive_maximum
    properties.MaximumPacketSize = settings.max_packet_bytes
    client.connect(host, port, keepalive_s, clean_start=settings.session_expiry_s == 0, properties=properties)


def _build_tls_context(credentials: Credentials, folder: Path | None) -> ssl.SSLContext:
    try:
        context = build_tls_context(credentials.authorities_pem)
    except ValueError as error:
        raise _fault(f"{folder}/{AUTHORITIES}", str(error)) from error
    context.sslsocket_class = _ClosingSocket
    if credentials.certificate and credentials.key:
        try:
            # A key with a passphrase fails here; otherwise OpenSSL would ask for it at the terminal.
            context.load_cert_chain(credentials.certificate, credentials.key, password="")
        except (ssl.SSLError, OSError) as error:
            raise _fault(str(credentials.certificate), f"can't be used with {credentials.key}: {error}") from error
    return context


def _fault(path: str, message: str) -> ConfigError:
    return ConfigError([Fault(origin="credentials", path=path, message=message)])


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


def describe_error(error: Exception, settings: ConnectionSettings) -> str:
    """Return why a connection failed, from the error that was raised."""
    if isinstance(error, ConfigError):
        return str(error)
    broker = f"the broker {settings.address.endpoint}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {broker} isn't trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS with {broker} failed: {error.reason or error}"
    if isinstance(error, TimeoutError):
        return f"{broker} doesn't answer"
    if isinstance(error, OSError):
        return f"can't connect to {broker}: {error.strerror or error}"
    return f"the connection to {broker} failed: {type(error).__name__}"
