"""Addresses of MQTT brokers, and topic filters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from paho.mqtt.client import topic_matches_sub

PORTS = {"mqtt": 1883, "mqtts": 8883}
"""Default port by scheme. Source: IANA, service names mqtt and secure-mqtt."""
MAX_BYTES = 65_535
"""Maximum size of a topic in UTF-8, bytes. Source: MQTT 5.0, section 4.7.3."""
SHARED = "$share/"


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


def matches(filters: Iterable[str], topic: str) -> bool:
    """Return whether one of the filters matches the topic; `$share/GROUP/` before a filter is ignored."""
    return any(topic_matches_sub(one.split("/", 2)[2] if one.startswith(SHARED) else one, topic) for one in filters)
