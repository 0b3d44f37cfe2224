"""Reading of a request's line and headers, with a size limit."""

from __future__ import annotations

import http.client
from io import BufferedIOBase

HEAD_BYTES = 65_536
"""Maximum size of the request line and all headers together, bytes; several times what servers and proxies accept
(nginx: 32 KB). The standard library limits each line alone, and a hundred long lines would take 6 MB outside of any
memory budget, before the caller is known."""


class HeadReader:
    """Reads lines until together they exceed `HEAD_BYTES`; `http.server` then answers 431.

    Args:
        stream: Stream of the connection.
    """

    def __init__(self, stream: BufferedIOBase) -> None:
        self._stream = stream
        self._left = HEAD_BYTES

    def readline(self, limit: int) -> bytes:
        """Return the next line, at most `limit` bytes of it.

        Raises:
            http.client.LineTooLong: When the lines so far have more bytes than a request may have.
        """
        line = self._stream.readline(min(limit, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise http.client.LineTooLong("header line")
        return line
