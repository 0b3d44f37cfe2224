"""Policy of the URLs and addresses that a function may fetch event data from; `functions.dataref` fetches them.

Source: OWASP Server-Side Request Forgery Prevention; RFC 6890 (special-purpose addresses), RFC 6052 (NAT64).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from urllib.parse import SplitResult, urlsplit

from eaves.errors import ClaimError, UnreachableError
from eaves.http_client.proxies import PORTS

SCHEMES = frozenset(PORTS)
MAX_URL = 2048
MAX_HOST = 253
_HOST = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
"""Pattern of a DNS name. Other texts are refused, since they make the resolver fail in unexpected ways. Source: RFC
1035, section 2.3.4."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_UNICAST = ipaddress.IPv6Network("2000::/3")
"""The IPv6 range for public addresses. Python's `is_global` is true for addresses outside of it too. Source: IANA, IPv6
address space."""
_SIGNATURES = frozenset({"x-amz-signature", "x-goog-signature", "signature", "sig"})
"""Names of query parameters with a signature, in lower case: those of S3, Google, CloudFront and Azure."""

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class UrlPolicy:
    """Policy of the URLs and addresses that may be fetched.

    Args:
        hosts: Allowed hosts, `store.example` or `*.store.example`, with a port when it isn't the scheme's default.
        schemes: Allowed schemes, `http` and `https`.
        networks: Networks that may be reached although they aren't public, such as `10.0.0.0/8`.
    """

    def __init__(
        self, *, hosts: Sequence[str], schemes: Sequence[str] = ("https",), networks: Sequence[str] = ()
    ) -> None:
        self._hosts = [host.lower() for host in hosts]
        self._schemes = frozenset(schemes) & SCHEMES
        self._networks = [ipaddress.ip_network(network) for network in networks]

    def check_url(self, url: str) -> SplitResult:
        """Check that a URL may be fetched, and return its parts.

        Raises:
            ClaimError: When the URL may not be fetched.
        """
        hint = "allow it with dataref_hosts and dataref_schemes, or send the data itself"
        if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or {" ", "\\"} & set(url):
            raise ClaimError(f"the dataref must be a URL of at most {MAX_URL} printable ASCII characters")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise ClaimError("the dataref is not a URL") from error  # the error's text may quote a password
        if parts.scheme not in self._schemes:
            raise ClaimError(f"datarefs with the scheme {parts.scheme[:16]!r} are not allowed", hint=hint)
        if "@" in parts.netloc:
            raise ClaimError(
                "the dataref contains a user name or password", hint=("use a URL that is signed in its query instead")
            )
        port = port or PORTS[parts.scheme]
        if not _is_name(host) or not any(_matches(one, host, port, parts.scheme) for one in self._hosts):
            raise ClaimError(f"datarefs to the host {parts.netloc[:80]!r} are not allowed", hint=hint)
        return parts

    def allowed_addresses(self, host: str, addresses: Iterable[str]) -> list[IpAddress]:
        """Return those IP addresses of a host that the function may connect to.

        A host without such an address is no fault of the event, whose host is allowed: while a link is down, many
        routers answer every name with an address of their own.

        Raises:
            UnreachableError: When no address may be reached.
        """
        parsed = [ipaddress.ip_address(text.partition("%")[0]) for text in addresses]
        allowed = [address for address in parsed if self._allows(address)]
        if not allowed:
            raise UnreachableError(
                f"the host {host[:80]!r} of a dataref has no address that the function may connect to",
                hint="allow its network with dataref_networks",
            )
        return allowed

    def _allows(self, address: IpAddress) -> bool:
        """Return whether an address is public or in an allowed network.

        If an IPv4 address is embedded in an IPv6 address, the IPv4 address is checked.
        """
        real = _embedded(address) or address
        if any(real in network for network in self._networks):
            return True
        given_out = isinstance(real, ipaddress.IPv4Address) or real in _UNICAST
        return given_out and real.is_global and not real.is_multicast


def is_presigned(query: str) -> bool:
    """Return whether the query of a URL carries a signature, which expires at some time."""
    return any(part.partition("=")[0].lower() in _SIGNATURES for part in query.split("&"))


def find_url_fault(url: str, *, hosts: Sequence[str], schemes: Sequence[str]) -> str:
    """Return why a function with these settings doesn't fetch a URL; empty when it does.

    Args:
        url: URL of a dataref, or its beginning.
        hosts: `dataref_hosts` of the function.
        schemes: `dataref_schemes` of the function.
    """
    try:
        UrlPolicy(hosts=hosts, schemes=schemes).check_url(url)
    except ClaimError as error:
        return error.message
    return ""


def is_host(pattern: str) -> bool:
    """Return whether a text is a valid entry of the policy's `hosts`."""
    name, colon, port = pattern.partition(":")
    good_port = not colon or (port.isdecimal() and 0 < int(port) < 65536)
    return good_port and _is_name(name.removeprefix("*.").lower())


def is_network(text: str) -> bool:
    """Return whether a text is a valid entry of the policy's `networks`."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def _is_name(host: str) -> bool:
    return len(host) <= MAX_HOST and _HOST.fullmatch(host) is not None


def _matches(pattern: str, host: str, port: int, scheme: str) -> bool:
    name, _, own_port = pattern.partition(":")
    named = host.endswith(name[1:]) if name.startswith("*.") else host == name
    return named and port == (int(own_port) if own_port else PORTS[scheme])


def _embedded(address: IpAddress) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 address embeds (mapped, compatible, 6to4 or NAT64); None without one."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
