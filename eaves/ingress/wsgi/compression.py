"""Gzip of texts for clients that accept it."""

from __future__ import annotations

import gzip
from collections.abc import Sequence

TYPES = frozenset({
    "text/html", "text/css", "text/javascript", "text/plain", "application/javascript", "application/json",
    "application/problem+json", "image/svg+xml",
})  # fmt: skip
"""Media types of texts; images are compressed already."""
LEAST_BYTES = 1_024
"""Size below which a text isn't compressed, bytes: it fits into one packet."""
LEVEL = 6

Fields = Sequence[tuple[str, str]]


def compress(fields: Fields, body: bytes, accepts: str) -> tuple[Fields, bytes]:
    """Return a response's headers and body, compressed when the client accepts it and it pays.

    Another representation must not have the same strong ETag, so the ETag becomes a weak one. Source: RFC 9110,
    sections 8.8.1 and 12.5.3.

    Args:
        fields: Headers of the response with status 200.
        body: Body of the response.
        accepts: Accept-Encoding header of the request; empty without one.
    """
    named = {name.lower(): value for name, value in fields}
    media_type = named.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in TYPES or len(body) < LEAST_BYTES or "content-encoding" in named:
        return fields, body
    kept = [(name, value) for name, value in fields if name.lower() not in ("vary", "content-length")]
    kept.append(("Vary", ", ".join(filter(None, (named.get("vary", ""), "Accept-Encoding")))))
    if not accepts_gzip(accepts):
        return kept, body
    kept = [(name, f"W/{value}" if name.lower() == "etag" and value.startswith('"') else value) for name, value in kept]
    return [*kept, ("Content-Encoding", "gzip")], gzip.compress(body, LEVEL, mtime=0)


def accepts_gzip(header: str) -> bool:
    """Return whether an Accept-Encoding header allows gzip. Source: RFC 9110, section 12.5.3."""
    allowed = {}
    for part in header.lower().split(","):
        name, _, parameter = part.partition(";")
        weight = parameter.strip().removeprefix("q=").strip()
        allowed[name.strip()] = weight.strip("0.") != "" if parameter else True
    return allowed.get("gzip", allowed.get("*", False))
