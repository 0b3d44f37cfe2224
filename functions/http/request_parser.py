"""Strict parser of HTTP requests: it refuses requests that two parsers could understand differently.

Without this parser, waitress joins repeated headers with a comma, and silently prefers one of `Content-Length` and
`Transfer-Encoding`. Some malformed headers raise a ValueError in its loop: the sender then gets no response, and the
log gets a traceback.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from waitress.parser import HTTPRequestParser, ParsingError, TransferEncodingNotImplemented
from waitress.utilities import BadRequest

MAX_CHUNK_LINE = 4096
"""Maximum bytes of the size line of a chunk (with its extensions), or of the trailer. Without a limit, waitress copies
all bytes received so far with every packet."""
FREE_BYTES, MIN_PAYLOAD = 65_536, 0.9
"""Number of bytes from which a chunked body must have a minimum share of payload, and that share. Without this limit,
20 MB in chunks of one byte block the event loop for 5 s."""
_ONCE = frozenset((b"content-type", b"content-length", b"transfer-encoding", b"host"))


class Parser(HTTPRequestParser):  # type: ignore[misc]
    """Parser of one HTTP request while its bytes arrive.

    Source: RFC 9112, sections 5.2, 6.1 and 6.3; CloudEvents HTTP binding 1.0.2, section 3.1.3.
    """

    error: Any = None

    def received(self, data: bytes) -> int:
        """Parse further bytes of a request; refuse a chunked body that is mostly overhead."""
        consumed: int = super().received(data)
        held = max(len(getattr(self.body_rcv, name, b"")) for name in ("control_line", "trailer"))
        sent = self.body_bytes_received if self.chunked else 0
        if held > MAX_CHUNK_LINE:
            self._refuse("the header of a chunk is too long")
        elif sent > FREE_BYTES and len(self.body_rcv) < MIN_PAYLOAD * sent:
            self._refuse("the chunks are too small")
        return consumed

    def _refuse(self, reason: str) -> None:
        self.error = self.error or BadRequest(reason)
        self.completed = True

    def parse_header(self, header_plus: bytes) -> None:
        """Parse the header of a request, and refuse what waitress would accept although it is ambiguous.

        Raises:
            ParsingError: When the headers are malformed or ambiguous.
        """
        lines = header_plus.split(b"\r\n")[1:]
        names = Counter(line.partition(b":")[0].rstrip(b" \t").lower() for line in lines)
        for name, times in names.items():
            if times > 1 and (name in _ONCE or name.startswith(b"ce-")):
                raise ParsingError(f"the header {name[:40].decode('latin-1')} occurs {times} times")
        if names[b"content-length"] and names[b"transfer-encoding"]:
            raise ParsingError("the request has both Content-Length and Transfer-Encoding")
        try:
            super().parse_header(header_plus)
        except ValueError as error:  # brackets of a URI, or a length of 5,000 digits
            raise ParsingError("the head of the request is malformed") from error
        except TransferEncodingNotImplemented as error:  # waitress's 501 would make the sender try again
            raise ParsingError("the only supported transfer encoding is chunked") from error
        if self.version not in {"1.0", "1.1"}:
            raise ParsingError("the request is not HTTP/1.1 or 1.0")
        if self.version == "1.0" and names[b"transfer-encoding"]:
            raise ParsingError("HTTP/1.0 requests can't have Transfer-Encoding")
