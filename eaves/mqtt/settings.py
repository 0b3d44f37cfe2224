"""What a connection needs beside the address."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from eaves.mqtt.address import BrokerAddress
from eaves.mqtt.message import Publication

Version = Literal["auto", "5", "3.1.1"]
"""`auto`: MQTT 5, and 3.1.1 with a broker that doesn't speak it."""
WEEK_S = 604_800


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """How to connect to one broker.

    Attributes:
        address: Where the broker is. Its path is not used here.
        client_id: The name under which the broker keeps the session; no other client may use it at the same time.
        credentials: Folder with `username`, `password`, `tls.crt`, `tls.key`, `ca.crt`; read at each connection. It
            goes before a user in the address. None: there is none.
        version: Version of the protocol.
        session_expiry_s: Seconds for which the broker keeps the session, and messages in it, while nobody is connected;
            0: no session. MQTT 3.1.1 can only say whether it is kept.
        receive_maximum: Most messages that the broker sends before the first of them is acknowledged (MQTT 5; a 3.1.1
            broker has its own bound).
        max_packet_bytes: Largest packet that is taken. A broker that speaks MQTT 5 is told, and doesn't send larger
            ones; of what arrives all the same, the beginning is kept and the rest is read and dropped.
        keepalive_s: Seconds of silence after which the broker is asked whether it is there; twice as long, and the
            connection is made anew.
        will: Message that the broker publishes when the connection ends without a word; None for none.
        connect_timeout_s: Seconds that TCP and TLS may take, each, and again that the broker's first answer may.
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
