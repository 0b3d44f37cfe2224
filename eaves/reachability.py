"""Addresses of servers and streams, and a connection test, which sends nothing but what TCP and TLS need to connect."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

from eaves.http_client.explain import Explanation, explain
from eaves.http_client.trust import build_tls_context

TLS = "tls://"
"""Prefix of an address at which a TLS handshake is tried as well."""
TIMEOUT_S = 5.0
"""Time limit for one connection, and again for its handshake, seconds."""
PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322, "rtmp": 1935, "rtmps": 443}
"""Protocols whose URLs have the address of a server, and their usual ports."""
_TLS_SCHEMES = ("https", "rtsps", "rtmps")
STREAM_SUFFIXES = (".m3u8", ".mjpg", ".mjpeg")
"""Endings of the path of an http address of a stream: the usual names of MJPEG, and HLS, which is refused."""
_HOST = re.compile(r"([^/@]*@)?((\d{1,3}\.){3}\d{1,3}(:\d+)?|[A-Za-z0-9.-]+:\d+)(/.*)?", re.DOTALL)
"""An IPv4 address with or without a port, or a name with a port, and a path: an address without its scheme."""


def find_address(url: str) -> str:
    """Return the address of a URL's server: `HOST:PORT`, or `tls://HOST:PORT` with TLS.

    Args:
        url: URL of HTTP, RTSP or RTMP, with a host.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    address = f"{f'[{host}]' if ':' in host else host}:{parts.port or PORTS[parts.scheme]}"
    return f"{TLS}{address}" if parts.scheme in _TLS_SCHEMES else address


def lacks_scheme(text: str) -> bool:
    """Return whether a text looks like the address of a stream without its scheme, as in `192.168.1.20/stream1`."""
    return _HOST.fullmatch(text) is not None


def is_stream(url: str) -> bool:
    """Return whether the path of an address ends as those of streams do."""
    try:
        return urlsplit(url).path.lower().endswith(STREAM_SUFFIXES)
    except ValueError:
        return False


def parse_address(address: str) -> tuple[str, int, bool]:
    """Return host, port, and whether TLS is tried. An IPv6 address is written in brackets.

    Raises:
        ValueError: When the address is not `HOST:PORT`.
    """
    host, _, port = address.removeprefix(TLS).rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ValueError(f"must be HOST:PORT (got {address!r})")
    return host.removeprefix("[").removesuffix("]"), int(port), address.startswith(TLS)


def reach(address: str, authorities: str = "", *, timeout_s: float = TIMEOUT_S) -> Explanation | None:
    """Try to connect to `HOST:PORT`, or `tls://HOST:PORT`; return why it failed, None when it didn't.

    Args:
        address: Address of the server.
        authorities: Path of a PEM file with certificate authorities to trust beside the system's; empty or missing:
            none.
        timeout_s: Time limit for the connection, and again for its handshake, seconds.
    """
    host, port, with_tls = parse_address(address)
    trusted = Path(authorities).read_text("utf-8") if authorities and Path(authorities).exists() else ""
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            if with_tls:
                build_tls_context(trusted).wrap_socket(connection, server_hostname=host).close()
    except (OSError, ValueError) as error:
        # An alert is a response; the server may ask for a client certificate.
        return None if "ALERT" in str(getattr(error, "reason", "")) else explain(error)
    return None
