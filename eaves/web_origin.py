"""Whether a request to loopback may come from a web page of elsewhere, by its headers Host and Origin.

A page of any site can have the browser of this machine send requests to loopback. It does so straight, and then the
browser says where the page is from (Origin); or by a name of its own that it has led to loopback meanwhile (DNS
rebinding), and then that name is the Host.

Source: Fetch standard, section 3.1, `Origin`; RFC 9112, section 3.2, Host.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

_USUAL = frozenset({"127.0.0.1", "localhost", "::1"})
HINT = "call it as http://127.0.0.1 or http://localhost, from a program of this machine"


def find_foreign(host: str, origin: str | None) -> str:
    """Why a request to loopback may come from a web page of elsewhere; empty when it doesn't.

    Args:
        host: Its header Host, empty without one.
        origin: Its header Origin, None without one.
    """
    if not is_loopback(f"//{host}"):
        return f"only programs of this machine may call this address, and Host is {host[:80]!r}"
    if origin is not None and not is_loopback(origin):
        return f"only programs of this machine may call this address, and Origin is {origin[:80]!r}"
    return ""


def is_same_site(host: str, origin: str) -> bool:
    """Whether an Origin is the host that the request is sent to."""
    try:
        return urlsplit(origin).netloc.lower() == host.lower() != ""
    except ValueError:
        return False


def listens_on_loopback(host: str) -> bool:
    """Whether an address that a server listens on is reached from this machine alone.

    Args:
        host: A name or an address, without brackets.
    """
    return is_loopback(f"//[{host}]" if ":" in host else f"//{host}")


def is_loopback(address: str) -> bool:
    """Whether a URL, or `//` and a host, names this machine's loopback."""
    try:
        name = urlsplit(address).hostname or ""
        return name in _USUAL or ip_address(name).is_loopback
    except ValueError:
        return False
