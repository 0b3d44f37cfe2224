"""Settings of a connection to an MQTT broker, including the broker's address."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from eaves.mqtt.address import BrokerAddress
from eaves.mqtt.message import Publication

Version = Literal["auto", "5", "3.1.1"]
"""Version of the protocol. `auto` is MQTT 5, and 3.1.1 with a broker that doesn't support it."""
WEEK_S = 604_800


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
            Of larger packets that arrive anyway, the beginning is kept and the rest is read and dropped.
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
