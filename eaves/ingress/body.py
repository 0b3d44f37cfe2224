"""Reading of a request's body in pieces, which are unpacked as they arrive, within limits.

Memory is reserved for bytes that have arrived and were unpacked, not for the size that a sender announces.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from io import BufferedIOBase

from eaves.errors import EventError, ImageTooLargeError
from eaves.ingress.framing import Framing
from eaves.ingress.memory import Take

LINE_BYTES = 1024
"""Maximum length of a line with the size of a chunk, and of a trailer, bytes."""
TRAILERS = 64
PIECE_BYTES = 65_536
"""Number of bytes that are read, and unpacked, at a time."""
_GZIP_WINDOW = 31
"""zlib window for gzip. Source: zlib's manual, inflateInit2: 15 bits of window, and 16 for a gzip header."""


class BrokenOffError(EventError):
    """The connection ended within a body, because the sender or the link failed; the event isn't at fault."""


def read_body(stream: BufferedIOBase, framing: Framing, *, max_bytes: int, take: Take, gzipped: bool = False) -> bytes:
    """Read a request's body.

    Args:
        stream: Stream of the request, after its headers.
        framing: Framing of the body.
        max_bytes: Maximum size of the body, packed and unpacked, bytes.
        take: Reserves memory for bytes that were read.
        gzipped: Whether the body is one gzip member.

    Raises:
        BrokenOffError: When the sender ends the connection within the body.
        EventError: When the body isn't well-formed.
        ImageTooLargeError: When the body is larger than allowed.
        OverloadedError: When no memory is available now.
        OSError: When the connection ends.
    """
    body = bytearray()
    sent = _iter_body(stream, framing, max_bytes)
    for piece in _unpack(sent) if gzipped else sent:
        if len(body) + len(piece) > max_bytes:
            raise build_too_large(max_bytes)
        take(len(piece))
        body += piece
    return bytes(body)


def build_too_large(max_bytes: int) -> ImageTooLargeError:
    """Build the error for a body that is larger than the server accepts."""
    return ImageTooLargeError(
        f"the request has more than {max_bytes} bytes", hint=("send a smaller body, or raise max_bytes")
    )


def _iter_body(stream: BufferedIOBase, framing: Framing, max_bytes: int) -> Iterator[bytes]:
    if framing.chunked:
        yield from _iter_chunks(stream, max_bytes)
        return
    if framing.length is None:
        raise EventError("the request has neither Content-Length nor Transfer-Encoding: chunked")
    if framing.length > max_bytes:
        raise build_too_large(max_bytes)
    yield from _iter_pieces(stream, framing.length)


def _iter_chunks(stream: BufferedIOBase, max_bytes: int) -> Iterator[bytes]:
    """Yield the content of a chunked body. Source: RFC 9112, section 7.1."""
    total = 0
    while size := _read_size(stream):
        total += size
        if total > max_bytes:
            raise build_too_large(max_bytes)
        yield from _iter_pieces(stream, size)
        if _read_line(stream):
            raise EventError("a chunk of the request is longer than its declared size")
    for _ in range(TRAILERS):  # trailers are ignored
        if not _read_line(stream):
            return
    raise EventError(f"the request has more than {TRAILERS} trailers")


def _iter_pieces(stream: BufferedIOBase, size: int) -> Iterator[bytes]:
    while size:
        piece = stream.read(min(size, PIECE_BYTES))
        if not piece:
            raise BrokenOffError("the connection was closed before the request was complete")
        size -= len(piece)
        yield piece


def _read_size(stream: BufferedIOBase) -> int:
    text = _read_line(stream).partition(b";")[0].strip(b" \t")
    try:
        return int(text, 16) if text and text.isalnum() and len(text) <= 16 else int("")
    except ValueError as error:
        raise EventError(f"the request has a chunk without a size (got {text[:20]!r})") from error


def _read_line(stream: BufferedIOBase) -> bytes:
    line = stream.readline(LINE_BYTES)
    if not line.endswith(b"\n") and len(line) < LINE_BYTES:
        raise BrokenOffError("the connection was closed between two chunks of the request")
    if not line.endswith(b"\r\n"):
        raise EventError("a line between two chunks of the request is too long, or doesn't end with CR and LF")
    return line[:-2]


def _unpack(pieces: Iterator[bytes]) -> Iterator[bytes]:
    inflating = zlib.decompressobj(wbits=_GZIP_WINDOW)
    for piece in pieces:
        packed = piece
        while packed:
            if inflating.eof:
                raise EventError("data follows the end of the gzip body")
            try:
                unpacked = inflating.decompress(packed, PIECE_BYTES)
            except zlib.error as error:
                raise EventError(f"the body is not gzip: {error}") from error
            if unpacked:
                yield unpacked
            packed = inflating.unconsumed_tail or inflating.unused_data
    while not inflating.eof:  # output that the last call had no room for
        unpacked = inflating.decompress(b"", PIECE_BYTES)
        if not unpacked:
            raise EventError("the gzip body is incomplete")
        yield unpacked
