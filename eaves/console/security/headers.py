"""Headers of every response, by which a browser restricts what pages and images may do.

There is no Strict-Transport-Security: it applies to a host and not to a port, and would lock people out of other
servers of the same machine that speak plain HTTP. This port speaks only TLS when it speaks TLS, and the cookies are
bound to it.

The pages have no nonces and no hx-csp: scripts come from files only, no template has an inline handler, and foreign
text is escaped, so it can't become an htmx attribute.
"""

from __future__ import annotations

from flask import Response

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
TYPES = frozenset({
    "text/html", "text/plain", "text/event-stream", "text/css", "text/csv", "text/javascript",
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


def add_headers(response: Response, *, is_own_file: bool, uses_camera: bool) -> None:
    """Add the headers to a response.

    Args:
        response: The response; a Cache-Control of its own is kept, and the policy of a file.
        is_own_file: Whether it is a file of the `static` folder.
        uses_camera: Whether the page may use the device's camera.
    """
    headers = response.headers
    headers.update(FIXED)
    headers["Permissions-Policy"] = f"camera={'(self)' if uses_camera else '()'}, {_UNUSED}"
    if not is_own_file and response.mimetype not in TYPES and response.status_code == 200:
        response.content_type = "application/octet-stream"
        headers["Content-Disposition"] = "attachment"
    if response.mimetype in {"text/html", "text/event-stream"}:
        headers["Content-Security-Policy"] = CAMERA_POLICY if uses_camera else PAGE_POLICY
    else:
        headers.setdefault("Content-Security-Policy", FILE_POLICY)
    headers.setdefault("Cache-Control", "no-store")
