"""Framing of a request's body, which says where the body ends.

A request that two programs would end at different places is refused, because a proxy and the server behind it would
each take other bytes for the next request. Source: RFC 9112, sections 5.1, 5.2, 6.1 to 6.3 and 11.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from email import errors
from email.message import Message

from eaves.errors import EventError

NO_BODY = (
    errors.StartBoundaryNotFoundDefect,
    errors.NoBoundaryInMultipartDefect,
    errors.MultipartInvariantViolationDefect,
)
"""Defects that the standard library reports of every multipart request, because it parses the headers without the body.
A browser sends photos as multipart/form-data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Framing:
    """Framing of a body.

    Attributes:
        chunked: Whether the body is sent in chunks.
        length: Size of a body that isn't sent in chunks, bytes; None when the request doesn't give the size.
    """

    chunked: bool = False
    length: int | None = None

    @property
    def has_body(self) -> bool:
        """Whether a body follows the headers."""
        return self.chunked or bool(self.length)


def parse_framing(headers: Message) -> Framing:
    """Parse the framing of a request's body.

    Raises:
        EventError: When the headers are not well-formed, or give the framing in two ways.
    """
    _check_fields(headers)
    codings = headers.get_all("transfer-encoding", [])
    lengths = headers.get_all("content-length", [])
    if codings and lengths:
        raise EventError("the request has both Content-Length and Transfer-Encoding")
    if codings:
        if len(codings) > 1 or codings[0].strip().lower() != "chunked":
            raise EventError(f"Transfer-Encoding must be chunked (got {', '.join(codings)[:40]!r})")
        return Framing(chunked=True)
    if not lengths:
        return Framing()
    text = lengths[0].strip(" \t")
    if len(lengths) > 1 or not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise EventError(f"Content-Length must be one number (got {', '.join(lengths)[:40]!r})")
    return Framing(length=int(text))


def _check_fields(headers: Message) -> None:
    if any(not isinstance(defect, NO_BODY) for defect in headers.defects):
        raise EventError("a header of the request is malformed")
    if len(headers.get_all("host", [])) > 1:
        raise EventError("the request has more than one Host header")
    for name, value in headers.items():
        if name != name.strip() or "\r" in value or "\n" in value or "\0" in value:
            raise EventError(f"the header {name[:40].strip()!r} is malformed")
