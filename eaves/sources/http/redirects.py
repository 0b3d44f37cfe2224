"""Check of the targets of redirects: only the same host is allowed, because requests carry credentials."""

from __future__ import annotations

from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from eaves.sources.http.settings import PORTS

STATUSES = frozenset({301, 302, 303, 307, 308})
"""HTTP statuses of redirects whose target has the same picture. Source: RFC 9110, section 15.4."""


def find_target(url: str, location: str) -> str:
    """Return the URL that a redirect leads to.

    Args:
        url: URL of the request.
        location: Location header of the answer.

    Raises:
        ValueError: When the redirect leads to another host or port, from https:// to http://, or to no valid URL; the
            message says which.
    """
    here = urlsplit(url)
    try:
        there = urlsplit(urljoin(url, location.strip()))
        port = there.port
    except ValueError:
        raise ValueError("redirects to an invalid address") from None
    if there.scheme not in PORTS or not there.hostname:
        raise ValueError("redirects to an address that is not http:// or https://")
    if there.hostname != here.hostname:
        raise ValueError(f"redirects to another host, {there.hostname[:100]!r}")
    if here.scheme == "https" and there.scheme == "http":
        raise ValueError("redirects from https:// to http://")
    upgraded = here.scheme == "http" and there.scheme == "https"
    if not upgraded and (port or PORTS[there.scheme]) != _port(here):
        raise ValueError(f"redirects to another port, {port}")
    host = there.netloc.rpartition("@")[2]  # a user name in a redirect is not sent
    return urlunsplit((there.scheme, host, there.path or "/", there.query, ""))


def _port(parts: SplitResult) -> int:
    return parts.port or PORTS[parts.scheme]
