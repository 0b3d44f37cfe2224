"""What browsers say about where a request comes from, and the headers by which they restrict what pages may do.

A browser on this machine can be made to send requests to the console by a page of any site. It names the page's origin
(Origin) and its relation to the console (Sec-Fetch-Site), or, with DNS rebinding, uses that site's host name as Host.
Source: Fetch standard, section 3.1, `Origin`; W3C Fetch Metadata Request Headers.

There is no Strict-Transport-Security: it applies to a host and not to a port, and would lock people out of other
servers of the same machine that speak plain HTTP. This port speaks only TLS when it speaks TLS, and the cookies are
bound to it. The pages have no nonces and no hx-csp: scripts come from files only, no template has an inline handler,
and foreign text is escaped, so it can't become an htmx attribute.
"""

from __future__ import annotations

from collections.abc import Mapping

from flask import Response

from eaves.web.origin import is_loopback, is_same_site

FORWARDED = ("Forwarded", "Via", "X-Forwarded-For", "X-Real-Ip")
"""Headers that a proxy adds. Source: RFC 7239, section 4; RFC 9110, section 7.6.3."""
_OWN = frozenset({"same-origin", "none"})
"""Values of Sec-Fetch-Site of requests by the console's own pages and by a person, such as a typed address."""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'{images}; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'{more}"
)
PAGE_POLICY = _POLICY.format(images="", more="")
"""Content-Security-Policy of pages. Source: CSP level 3."""
CAMERA_POLICY = _POLICY.format(images=" blob:", more="; media-src 'self' blob:")
"""Policy of pages that show a photo before it is sent."""
FILE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"
"""Policy of images and other files, in case that a browser opens one as a page. An icon may have its own style."""
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'none'"
"""Policy of the page that a training wrote, maybe on another machine: it runs nothing and sends nothing."""
TYPES = frozenset({
    "text/html", "text/plain", "text/css", "text/csv", "text/javascript",
    "application/json", "application/problem+json", "application/octet-stream",
    "image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp",
})  # fmt: skip
"""Media types of responses. Foreign bytes with another one, such as `image/svg+xml`, which can hold scripts, are sent
as a download."""
FIXED = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers of every response. With `no-referrer`, browsers would send `Origin: null` with forms.
Source: Fetch standard, section 3.1, "append a request Origin header"."""
_UNUSED = "microphone=(), geolocation=(), display-capture=(), payment=(), usb=()"


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
    is_page = headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"
    if site not in _OWN and not (is_page and method in {"GET", "HEAD"}):
        return f"A page of another site sent this request (Sec-Fetch-Site is {site[:20]!r})."
    return ""


def add_headers(response: Response, *, is_own_file: bool, uses_camera: bool) -> None:
    """Add the headers to a response.

    Args:
        response: The response; a Cache-Control or policy of its own is kept.
        is_own_file: Whether it is a file of the `static` folder.
        uses_camera: Whether the page may use the device's camera.
    """
    headers = response.headers
    headers.update(FIXED)
    headers["Permissions-Policy"] = f"camera={'(self)' if uses_camera else '()'}, {_UNUSED}"
    if not is_own_file and response.mimetype not in TYPES and response.status_code == 200:
        response.content_type = "application/octet-stream"
        headers["Content-Disposition"] = "attachment"
    page_policy = CAMERA_POLICY if uses_camera else PAGE_POLICY
    headers.setdefault("Content-Security-Policy", page_policy if response.mimetype == "text/html" else FILE_POLICY)
    headers.setdefault("Cache-Control", "no-store")
