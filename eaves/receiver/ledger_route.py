"""Route that returns the ledger's lines about one site as JSON lines."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from eaves.errors import InputError, NotFoundError
from eaves.ingress import Response
from eaves.link.ledger_lines import encode_lines
from eaves.spool import Spool

LIMIT = 10_000
"""Maximum number of lines in one answer, about 200 bytes each."""
MAX_BYTES, PIECE = 4_000_000, 200
"""Size at which an answer ends even before the limit on lines, bytes, because ids may be long; and the number of lines
that are read at a time."""
MEDIA_TYPE = "application/jsonl"


def answer_ledger(spool: Spool, site: str, query: str) -> Response:
    """Answer with the lines of a site's events, in the order of arrival.

    Args:
        spool: Spool with a ledger.
        site: Name of the site.
        query: Query string with `after`, the number of a line, and `limit`.

    Raises:
        InputError: When the query can't be read.
        SpoolError: When the ledger can't be read.
    """
    given = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := sorted(given.keys() - {"after", "limit"}):
        raise InputError(
            f"the ledger has no query parameter {unknown[0][:64]!r}", hint="query parameters: after, limit"
        )
    after, limit = _number(given, "after", 0), _number(given, "limit", LIMIT)
    if spool.ledger is None:
        raise NotFoundError("this receiver keeps no ledger")
    body = bytearray()
    left = min(limit, LIMIT)
    while left and len(body) < MAX_BYTES:
        lines = spool.ledger.read(after=after, limit=min(left, PIECE), source_prefix=f"/eaves/{site}/")
        if not lines:
            break
        body += encode_lines(lines)
        after, left = lines[-1].number, left - len(lines)
    return Response(status=200, headers={"Content-Type": MEDIA_TYPE}, body=bytes(body))


def _number(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise InputError(f"{name} must be a number (got {text[:64]!r})")
    return int(text)
