"""What the URLs and the headers of HTTP say: the server of a URL, redirects, Retry-After, challenges of a login."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from datetime import UTC
from email.message import Message
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from eaves.http_client.proxies import PORTS

REDIRECTS = frozenset({301, 302, 303, 307, 308})
"""Statuses of redirects whose target has the same content. Source: RFC 9110, section 15.4."""
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
MAX_CHALLENGE = 8_192
"""Maximum number of characters of a WWW-Authenticate header that are parsed."""
_SCHEME = re.compile(r"(?:^|,)\s*(basic|digest|bearer)(?=[\s,]|$)", re.IGNORECASE)


@lru_cache(maxsize=1024)
def split_url(url: str) -> tuple[tuple[str, str, int], str, str]:
    """Return (scheme, host, port), the place as a Host header names it, and path and query as they are sent.

    Raises:
        ValueError: When it isn't the URL of an HTTP server.
    """
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError("the address must begin with http:// or https://, and name a host")
    target = quote(urlunsplit(("", "", parts.path or "/", parts.query, "")), safe=_PRINTABLE)
    key = (parts.scheme, parts.hostname, parts.port or PORTS[parts.scheme])
    return key, parts.netloc.rpartition("@")[2], target


def parse_retry_after(headers: Mapping[str, str] | Message) -> float | None:
    """Return the seconds to wait by the header Retry-After; None when there is none or it is invalid.

    The value has no upper limit here; callers use at most an hour of it, a delivery a minute. A time in it is relative
    to the answer's own Date, so that it doesn't matter how wrong the clock of this machine is.
    Source: RFC 9110, section 10.2.3: seconds or an HTTP date.

    Args:
        headers: Headers with names in lower case, or found in any case.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    until, now = _parse_date(text), _parse_date(headers.get("date", ""))
    return None if until is None else max(0.0, until - (time.time() if now is None else now))


def _parse_date(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):  # a time zone such as +999999999999 is invalid
        return None


def shorten_url(url: str) -> str:
    """Return a URL for messages, without its user name, password and query."""
    scheme, separator, rest = url.partition("?")[0].partition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}{separator}{place.rpartition('@')[2]}{slash}{path}"


def find_redirect(url: str, location: str) -> str:
    """Return the URL that a redirect leads to: only the same host is allowed, because requests carry credentials.

    Raises:
        ValueError: When the redirect leads to another host or port, from https:// to http://, or to no valid URL; the
            message continues a sentence.
    """
    (scheme, host, port), _, _ = split_url(url)
    try:
        (to_scheme, to_host, to_port), place, target = split_url(urljoin(url, location.strip()))
    except ValueError:
        raise ValueError("redirects to an invalid address") from None
    if to_host != host:
        raise ValueError(f"redirects to another host, {to_host[:100]!r}")
    if (scheme, to_scheme) == ("https", "http"):
        raise ValueError("redirects from https:// to http://")
    if scheme == to_scheme and to_port != port:
        raise ValueError(f"redirects to another port, {to_port}")
    return f"{to_scheme}://{place}{target}"


def parse_challenges(headers: Iterable[str]) -> list[tuple[str, dict[str, str]]]:
    """Return scheme, in lower case, and parameters of the challenges by Basic, Digest and Bearer, in order.

    Args:
        headers: Values of the WWW-Authenticate headers of an answer. Source: RFC 9110, section 11.
    """
    from urllib.request import parse_http_list  # which imports much that most processes never need

    found = []
    for header in headers:
        _, *parts = _SCHEME.split(header[:MAX_CHALLENGE])
        for scheme, text in zip(parts[::2], parts[1::2], strict=True):
            listed = [one.partition("=") for one in parse_http_list(text)]
            named = {name.strip().lower(): value.strip().strip('"') for name, _, value in listed}
            found.append((scheme.lower(), named))
    return found
