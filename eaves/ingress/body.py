"""A request's body: where it ends, and its bytes, which are read in pieces and unpacked as they arrive, within limits.

A request that two programs would end at different places is refused, because a proxy and the server behind it would
each take other bytes for the next request. Source: RFC 9112, sections 5.1, 5.2, 6.1 to 6.3 and 11.2.

Memory is reserved for bytes that have arrived and were unpacked, not for the size that a sender announces.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from email.message import Message
from io import BufferedIOBase

from eaves.errors import ImageTooLargeError, MalformedRequestError
from eaves.http_client.client import unpack_gzip

LINE_BYTES = 1024
"""Maximum length of a line with the size of a chunk, and of a trailer, bytes."""
TRAILERS = 64
PIECE_BYTES = 65_536
"""Number of bytes that are read, and unpacked, at a time."""
FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\0\r\n]*)")
"""A header, whose value may have blanks around it. Source: RFC 9112, section 5, without line folding. A pattern for the
blanks would search for hours where a malformed value has thousands of them."""
ONCE = frozenset({"host", "content-length", "content-type", "transfer-encoding"})
"""Headers that a request may have once, as the attributes of an event."""
CHUNKED = -1
"""Size of a body that is sent in chunks."""


class BrokenOffError(MalformedRequestError):
    """The connection ended within a body, because the sender or the link failed."""


def parse_headers(lines: list[str]) -> Message:
    """Parse the lines of a request's headers, without their ends.

    Raises:
        MalformedRequestError: When a header is malformed or ambiguous.
    """
    headers = Message()
    for line in lines:
        found = FIELD.fullmatch(line)
        if found is None:
            raise MalformedRequestError(f"the header {line.partition(':')[0][:40].strip()!r} is malformed")
        headers[found[1]] = found[2].strip(" \t")
    for name, times in Counter(map(str.lower, headers.keys())).items():
        if times > 1 and (name in ONCE or name.startswith("ce-")):
            raise MalformedRequestError(f"the header {name[:40]} occurs {times} times")
    return headers


def parse_length(headers: Message) -> int | None:
    """Return the size of a request's body in bytes, or `CHUNKED`; None when the headers don't give it.

    Raises:
        MalformedRequestError: When the headers give it in two ways, or in none that is valid.
    """
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None and length is not None:
        raise MalformedRequestError("the request has both Content-Length and Transfer-Encoding")
    if coding is not None and coding.lower() != "chunked":
        raise MalformedRequestError(f"Transfer-Encoding must be chunked (got {coding[:40]!r})")
    if coding is not None or length is None:
        return None if coding is None else CHUNKED
    if not (length.isascii() and length.isdecimal() and len(length) <= 18):
        raise MalformedRequestError(f"Content-Length must be one number (got {length[:40]!r})")
    return int(length)


def read_body(
    stream: BufferedIOBase, length: int | None, *, max_bytes: int, take: Callable[[int], None], gzipped: bool = False
) -> bytes:
    """Read a request's body.

    Args:
        stream: Stream of the request, after its headers.
        length: Size of the body, as `parse_length` returns it.
        max_bytes: Maximum size of the body, packed and unpacked, bytes.
        take: Reserves memory for bytes that were read; it raises OverloadedError when there is none.
        gzipped: Whether the body is one gzip member.

    Raises:
        BrokenOffError: When the sender ends the connection within the body.
        MalformedRequestError: When the body isn't well-formed.
        ImageTooLargeError: When the body is larger than allowed.
        OverloadedError: When no memory is available now.
        OSError: When the connection ends.
    """
    if length is None:
        raise MalformedRequestError("the request has neither Content-Length nor Transfer-Encoding: chunked")
    body = bytearray()
    sent = _iter_chunks(stream, max_bytes) if length == CHUNKED else _iter_pieces(stream, length)
    check_size(length, max_bytes)
    try:
        for piece in unpack_gzip(sent) if gzipped else sent:
            check_size(len(body) + len(piece), max_bytes)
            take(len(piece))
            body += piece
    except ValueError as error:
        raise MalformedRequestError(str(error)) from error
    return bytes(body)


def check_size(size: int, max_bytes: int) -> None:
    """Refuse a body of more than `max_bytes`."""
    if size > max_bytes:
        raise ImageTooLargeError(
            f"the request has more than {max_bytes} bytes", hint="send a smaller body, or raise max_bytes"
        )


def _iter_chunks(stream: BufferedIOBase, max_bytes: int) -> Iterator[bytes]:
    """Yield the content of a chunked body. Source: RFC 9112, section 7.1."""
    total = 0
    while size := _read_size(stream):
        total += size
        check_size(total, max_bytes)
        yield from _iter_pieces(stream, size)
        if _read_line(stream):
            raise MalformedRequestError("a chunk of the request is longer than its declared size")
    for _ in range(TRAILERS):  # trailers are ignored
        if not _read_line(stream):
            return
    raise MalformedRequestError(f"the request has more than {TRAILERS} trailers")


def _iter_pieces(stream: BufferedIOBase, size: int) -> Iterator[bytes]:
    while size:
        piece = stream.read(min(size, PIECE_BYTES))
        if not piece:
            raise BrokenOffError("the connection was closed before the request was complete")
        size -= len(piece)
        yield piece


def _read_size(stream: BufferedIOBase) -> int:
    text = _read_line(stream).partition(b";")[0].strip(b" \t")
    if re.fullmatch(rb"[0-9A-Fa-f]{1,16}", text) is None:
        raise MalformedRequestError(f"the request has a chunk without a size (got {text[:20]!r})")
    return int(text, 16)


def _read_line(stream: BufferedIOBase) -> bytes:
    line = stream.readline(LINE_BYTES)
    if not line.endswith(b"\n") and len(line) < LINE_BYTES:
        raise BrokenOffError("the connection was closed between two chunks of the request")
    if not line.endswith(b"\r\n"):
        raise MalformedRequestError(
            "a line between two chunks of the request is too long, or doesn't end with CR and LF"
        )
    return line[:-2]
