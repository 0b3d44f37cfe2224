"""Parser of the address of an MQTT broker."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

PORTS = {"mqtt": 1883, "mqtts": 8883}
"""Default port by scheme. Source: IANA, service names mqtt and secure-mqtt."""


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
        raise ValueError("must be mqtt://HOST:PORT, with a port from 1 to 65535") from None
    if not host or any(char.isspace() for char in host) or port == 0:
        raise ValueError("must be mqtt://HOST:PORT, with a host and a port from 1 to 65535")
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
