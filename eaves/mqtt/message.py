"""Messages, connections and their settings, independent of paho-mqtt."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from eaves.mqtt.address import BrokerAddress

Version = Literal["auto", "5", "3.1.1"]
"""Version of the protocol. `auto` is MQTT 5, and 3.1.1 with a broker that refuses it."""
WEEK_S = 604_800


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message from the broker.

    Attributes:
        topic: Topic that the message was published to.
        payload: Bytes that were published.
        qos: 0 or 1. Only a message with 1 can be acknowledged, and the broker keeps it until then.
        retain: Whether the broker has retained the message from before the subscription.
        dup: Whether the broker says that it may have sent the message before.
        packet_id: The broker's number of the message, until it is acknowledged; 0 with QoS 0.
        session: Number of the connection that the message arrived on, for its acknowledgement.
        is_cut: Whether only the beginning of the payload is kept, because the message is larger than allowed.
        content_type: Media type of the payload, from MQTT 5; empty when it isn't given.
        user_properties: Names and values of MQTT 5's user properties, in order; names may repeat.
    """

    topic: str
    payload: bytes = field(repr=False)
    qos: int = 1
    retain: bool = False
    dup: bool = False
    packet_id: int = 0
    session: int = 0
    is_cut: bool = False
    content_type: str = ""
    user_properties: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One message to the broker, with QoS 1.

    Attributes:
        topic: Topic to publish to.
        payload: Bytes to publish.
        retain: Whether the broker retains the message for later subscribers.
        content_type: Media type of the payload; MQTT 5 only, left out with 3.1.1.
        user_properties: Names and values of user properties; MQTT 5 only, left out with 3.1.1.
    """

    topic: str
    payload: bytes = field(repr=False)
    retain: bool = False
    content_type: str = ""
    user_properties: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """Answer of a broker to a publication.

    Attributes:
        code: Reason code of PUBACK; below 0x80 the broker has accepted the message. 0 with MQTT 3.1.1, which has no
            refusal. Source: MQTT 5.0, section 3.4.2.1.
        name: Name of the code in lower case.
    """

    code: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """A connection that a broker has accepted.

    Attributes:
        present: Whether the broker still has the session of an earlier connection, with its subscriptions and messages.
        version: `5` or `3.1.1`.
        max_packet_bytes: Maximum packet size that the broker accepts, bytes; None when it sets no limit.
    """

    present: bool
    version: str
    max_packet_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """Settings of a connection to one broker.

    Attributes:
        address: Address of the broker. Its path is not used here.
        client_id: Name under which the broker keeps the session; no other client may use it at the same time.
        credentials: Folder with `username`, `password`, `tls.crt`, `tls.key`, `ca.crt`; read at each connection. It
            takes precedence over a user in the address. None for no folder.
        version: Version of the protocol.
        session_expiry_s: Time for which the broker keeps the session and its messages while the client is not
            connected, seconds; 0 for no session. With MQTT 3.1.1 a client can only say whether the session is kept.
        receive_maximum: Maximum number of unacknowledged messages that the broker sends (MQTT 5; a 3.1.1 broker has its
            own limit).
        max_packet_bytes: Maximum packet size, bytes. A broker with MQTT 5 gets the limit and sends no larger packets.
        keepalive_s: Time of silence after which the broker is pinged, seconds; after twice that time the connection is
            made again.
        will: Message that the broker publishes when the connection ends without DISCONNECT; None for none.
        connect_timeout_s: Time limit for TCP, for TLS, and for the broker's first answer, each, seconds.
    """

    address: BrokerAddress
    client_id: str
    credentials: Path | None = None
    version: Version = "auto"
    session_expiry_s: int = WEEK_S
    receive_maximum: int = 20
    max_packet_bytes: int = 1_000_000
    keepalive_s: int = 30
    will: Publication | None = None
    connect_timeout_s: float = 5.0
