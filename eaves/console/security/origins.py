"""Requests that a page of another site may have sent.

A browser on this machine can be made to send requests to the console by a page of any site. It names the page's origin
(Origin) and its relation to the console (Sec-Fetch-Site), or, with DNS rebinding, uses that site's host name as Host.

Source: Fetch standard, section 3.1, `Origin`; W3C Fetch Metadata Request Headers.
"""

from __future__ import annotations

from collections.abc import Mapping

from eaves.web.origin import is_loopback, is_same_site

FORWARDED = ("Forwarded", "Via", "X-Forwarded-For", "X-Real-Ip")
"""Headers that a proxy adds. Source: RFC 7239, section 4; RFC 9110, section 7.6.3."""
_OWN = frozenset({"same-origin", "none"})
"""Values of Sec-Fetch-Site of requests by the console's own pages and by a person, such as a typed address."""


def find_foreign_caller(method: str, headers: Mapping[str, str], *, loopback_only: bool) -> str:
    """Return why a request may come from a page of another site or by a proxy; empty when it doesn't.

    A link from another site to a page of the console is allowed: the browser shows that page at the top level, the
    other site can't read it, and a GET changes nothing.

    Args:
        method: HTTP method.
        headers: Headers of the request by name, such as `Sec-Fetch-Site`.
        loopback_only: Whether only programs of this machine may call, because no password is needed.
    """
    host = headers.get("Host", "")
    if loopback_only:
        if not is_loopback(f"//{host}"):
            return f"Only programs on this machine may open this page (Host is {host[:80]!r})."
        if named := next((name for name in FORWARDED if name in headers), None):
            return f"This page has no password, so it may not be opened through a proxy (the request has {named})."
    origin = headers.get("Origin")
    if origin is not None and not is_same_site(host, origin):
        return f"A page of another site sent this request (Origin is {origin[:80]!r})."
    site = headers.get("Sec-Fetch-Site", "none")
    if site not in _OWN and not _is_link(method, headers):
        return f"A page of another site sent this request (Sec-Fetch-Site is {site[:20]!r})."
    return ""


def comes_by_link(method: str, headers: Mapping[str, str]) -> bool:
    """Return whether another site's link opens the page; the browser then withholds the cookies (SameSite=Strict)."""
    return headers.get("Sec-Fetch-Site", "none") not in _OWN and _is_link(method, headers)


def _is_link(method: str, headers: Mapping[str, str]) -> bool:
    is_page = headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"
    return method in {"GET", "HEAD"} and is_page
