"""Selection of a request's proxy by the variables HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY.

The variables have the same meaning as for programs in Go, such as kubectl and Knative's: `NO_PROXY` takes hosts,
domains, addresses, networks and ports, and loopback addresses are never reached through a proxy. ALL_PROXY has curl's
meaning. The standard library's `urllib.request.proxy_bypass_environment` supports neither networks nor ports.

Source: golang.org/x/net/http/httpproxy, Config; curl(1), ENVIRONMENT.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from eaves.errors import ConfigError, Fault
from eaves.origin import is_loopback_host

VARIABLES = (
    *("https_proxy", "http_proxy", "all_proxy", "no_proxy"),
    *("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"),
)
"""Environment variables that a child process needs in order to find the same proxies."""
PORTS = {"http": 80, "https": 443}
_ENTRY = re.compile(r"(?P<name>\[[^\]]*\]|[^:]+)(?::(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """An HTTP proxy.

    Attributes:
        host: Host name or address, without brackets.
        port: TCP port.
        authorization: Value of the Proxy-Authorization header, a secret; empty without a user name.
    """

    host: str
    port: int
    authorization: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """Address without user name and password, for clients and messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        """Headers that are sent to the proxy only, never to the server behind it."""
        return {"Proxy-Authorization": self.authorization} if self.authorization else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxies:
    """The proxies of a process.

    Attributes:
        https: Proxy for https:// URLs, or None.
        http: Proxy for http:// URLs, or None.
        bypasses: Items of NO_PROXY in lower case: hosts that are reached without a proxy.
        everywhere: Whether every host is reached through the proxy, loopback too.
    """

    https: Proxy | None = None
    http: Proxy | None = None
    bypasses: tuple[str, ...] = ()
    everywhere: bool = False

    def find(self, url: str) -> Proxy | None:
        """Return the proxy for a URL; None when there is none, or when the URL isn't http:// or https://."""
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").rstrip("."), parts.port or PORTS.get(parts.scheme, 0)
        except ValueError:
            return None
        proxy = {"https": self.https, "http": self.http}.get(parts.scheme)
        if proxy is None or not host or self.everywhere:
            return proxy
        direct = is_loopback(host) or any(_covers(item, host, port) for item in self.bypasses)
        return None if direct else proxy


_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")


def is_http_url(url: str) -> bool:
    """Return whether a text is an http:// or https:// URL with a host and without control characters and spaces."""
    try:
        parts = urlsplit(url)
        return parts.scheme in PORTS and bool(parts.hostname) and parts.port != 0 and not _UNSAFE.search(url)
    except ValueError:
        return False


DIRECT = Proxies()
"""Configuration without proxies."""


def parse_proxies(environ: Mapping[str, str]) -> Proxies:
    """Parse the proxies from environment variables.

    A name in lower case wins over the same name in upper case, as in curl.

    Args:
        environ: Environment variables.

    Raises:
        ConfigError: When a proxy isn't an http:// address. The value isn't shown, because it may hold a
            password.
    """
    chosen: dict[str, Proxy | None] = {}
    faults: dict[str, Fault] = {}
    for scheme in ("https", "http"):
        names = [f"{scheme}_proxy", f"{scheme}_PROXY".upper(), "all_proxy", "ALL_PROXY"]
        name = next((name for name in names if environ.get(name, "").strip()), None)
        chosen[scheme] = None
        if name is None:
            continue
        try:
            chosen[scheme] = parse_proxy(environ[name])
        except ValueError as error:
            faults[name] = Fault(origin=f"environment variable {name}", path="", message=str(error))
    if faults:
        raise ConfigError(list(faults.values()), hint="set the variable to http://HOST:PORT, or remove it")
    no_proxy = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    return Proxies(https=chosen["https"], http=chosen["http"], bypasses=parse_bypasses(no_proxy))


def parse_proxy(text: str) -> Proxy:
    """Parse a proxy's address, such as `http://user:password@proxy.example:3128`; the default scheme is http.

    Raises:
        ValueError: When the text is no such address; the message doesn't contain the text.
    """
    text = text.strip()
    fault = ValueError("must be the address of a proxy without TLS, http://HOST:PORT")
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port
    except ValueError:
        raise fault from None  # its message quotes what may be a password
    if parts.scheme != "http" or not parts.hostname:
        raise fault
    return Proxy(
        host=parts.hostname,
        port=port or 80,
        authorization=_authorization(parts),
    )


def parse_bypasses(text: str) -> tuple[str, ...]:
    """Parse the items of NO_PROXY, which commas or white space separate."""
    return tuple(item for item in re.split(r"[,\s]+", text.lower()) if item)


def is_loopback(host: str) -> bool:
    """Return whether a host, in lower case and without brackets, is this machine itself."""
    return host.endswith(".localhost") or is_loopback_host(host)


def _covers(item: str, host: str, port: int) -> bool:
    """Return whether an item of NO_PROXY covers a host, in lower case and without brackets.

    An item is a network, an address, `*` for every host, or a domain with its subdomains; `.example.com` covers only
    the subdomains. A port limits it.
    """
    found = _ENTRY.fullmatch(item)  # an IPv6 address without brackets doesn't match
    name = (found["name"] if found else item).strip("[]")
    if found and found["port"] and int(found["port"]) != port:
        return False
    try:
        network = ipaddress.ip_network(name, strict=False)
    except ValueError:
        domain = name if name == "*" else name.removeprefix("*")
        named = host == domain.strip(".") and not domain.startswith(".")
        return domain == "*" or named or host.endswith(f".{domain.strip('.')}")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address) in network


def _authorization(parts: SplitResult) -> str:
    """Return the value of the Proxy-Authorization header. Source: RFC 7617, Basic."""
    if parts.username is None:
        return ""
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"
