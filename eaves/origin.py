"""Check of the headers Host and Origin, to refuse requests to loopback that a web page from elsewhere may have sent.

A page of any site can make the browser on this machine send requests to loopback. It can do so directly, and then the
browser names the page's origin (Origin). Or it uses a host name of its own that now resolves to loopback (DNS
rebinding), and then that name is the Host.

Source: Fetch standard, section 3.1, `Origin`; RFC 9112, section 3.2, Host.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

HINT = "call it as http://127.0.0.1 or http://localhost, from a program on this machine"


def find_foreign(host: str, origin: str | None) -> str:
    """Return why a request to loopback may come from a foreign web page; empty when it doesn't.

    Args:
        host: The request's Host header; empty without one.
        origin: The request's Origin header; None without one.
    """
    if not is_loopback(f"//{host}"):
        return f"only programs on this machine may call this address (Host is {host[:80]!r})"
    if origin is not None and not is_loopback(origin):
        return f"only programs on this machine may call this address (Origin is {origin[:80]!r})"
    return ""


def is_same_site(host: str, origin: str) -> bool:
    """Return whether an Origin header names the host of the Host header, so that the page is the server's own."""
    try:
        return urlsplit(origin).netloc.lower() == host.lower() != ""
    except ValueError:
        return False


def is_loopback_host(host: str) -> bool:
    """Return whether `localhost` or an address, without brackets, is reachable only from this machine.

    An IPv6 socket that also accepts IPv4 names an IPv4 peer `::ffff:127.0.0.1`. Source: RFC 4291, section 2.5.5.2.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def is_loopback(address: str) -> bool:
    """Return whether a URL, or `//` and a host, names this machine's loopback, without a user name."""
    try:
        parts = urlsplit(address)
        return parts.username is None and parts.port != 0 and is_loopback_host(parts.hostname or "")
    except ValueError:  # no address, or a port that isn't a number
        return False
