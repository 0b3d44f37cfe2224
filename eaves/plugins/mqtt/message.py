"""Messages, connections, their settings and addresses, and topic filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

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


class ConnectionListener:
    """Interface of an object whose methods a `BrokerConnection` calls when something happens on the connection.

    The methods are called on the connection's thread and must not wait, because that thread answers the broker's
    keepalive. An exception is a bug: it is logged with its traceback and ends the connection, which is made again.
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


PORTS = {"mqtt": 1883, "mqtts": 8883}
"""Default port by scheme. Source: IANA, service names mqtt and secure-mqtt."""
MAX_BYTES = 65_535
"""Maximum size of a topic in UTF-8, bytes. Source: MQTT 5.0, section 4.7.3."""
SHARED = "$share/"
_MALFORMED = "must be mqtt://HOST[:PORT] or mqtts://HOST[:PORT], with a host and a port from 1 to 65535"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """Address and user of a broker.

    Attributes:
        host: Name or IP address.
        port: TCP port.
        tls: Whether the connection is encrypted.
        path: Path after the host, without the first slash and percent-decoded; the topic of a publisher.
        username: User name in the address; empty without one. A file of credentials is a better place for it.
        password: Password in the address; empty without one. A file of credentials is a better place for it.
    """

    host: str
    port: int
    tls: bool = False
    path: str = ""
    username: str = ""
    password: str = field(default="", repr=False)

    @property
    def endpoint(self) -> str:
        """`HOST:PORT`, for people and for `eaves doctor`; an IPv6 address is in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> BrokerAddress:
    """Parse `mqtt://HOST[:PORT][/PATH]` or `mqtts://...`.

    Raises:
        ValueError: When the text is malformed; the message contains no credentials.
    """
    scheme, separator, _ = text.partition("://")
    if not separator or scheme.lower() not in PORTS:
        raise ValueError("must be an address that begins with mqtt:// or mqtts://")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:  # its message may quote the part with the password
        raise ValueError(_MALFORMED) from None
    if not host or any(char.isspace() for char in host) or port == 0:
        raise ValueError(_MALFORMED)
    if "?" in text or "#" in text:
        raise ValueError("must not contain ? or #; write them as %3F and %23")
    scheme = scheme.lower()
    return BrokerAddress(
        host=host,
        port=port or PORTS[scheme],
        tls=scheme == "mqtts",
        path=unquote(parts.path.removeprefix("/")),
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


def find_filter_fault(text: str) -> str:
    """Return what is wrong with a topic filter; empty when it is valid.

    Source: MQTT 5.0, section 4.7.1, wildcards, and section 4.8.2, shared subscriptions.
    """
    if text.startswith(SHARED):
        group, _, rest = text.removeprefix(SHARED).partition("/")
        if not group or not rest or "+" in group or "#" in group:
            return "must be $share/GROUP/TOPIC, with a group without wildcards"
        text = rest
    levels = text.split("/")
    if not text or "\0" in text or len(text.encode(errors="replace")) > MAX_BYTES:
        return f"must be a topic of 1 to {MAX_BYTES} bytes without a null character"
    if any("#" in level for level in levels[:-1]) or (levels[-1] != "#" and "#" in levels[-1]):
        return "must have # only as its whole last level"
    if any(level != "+" and "+" in level for level in levels):
        return "must have + only as a whole level"
    return ""
