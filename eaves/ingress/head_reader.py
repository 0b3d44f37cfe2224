"""The request line and the headers of a request, with a bound on their bytes."""

from __future__ import annotations

import http.client
from io import BufferedIOBase

HEAD_BYTES = 65_536
"""Bytes of the request line and all headers together, several times what servers and proxies take (nginx: 32 KB). The
standard library bounds each line alone, and a hundred of them were 6 MB that no budget knew, before the caller is
known."""


class HeadReader:
    """Reads lines until they have too many bytes: `http.server` answers 431 then.

    Args:
        stream: The connection.
    """

    def __init__(self, stream: BufferedIOBase) -> None:
        self._stream = stream
        self._left = HEAD_BYTES

    def readline(self, limit: int) -> bytes:
        """The next line, `limit` bytes of it at most.

        Raises:
            http.client.LineTooLong: When the lines so far have more bytes than a request may have.
        """
        line = self._stream.readline(min(limit, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise http.client.LineTooLong("header line")
        return line
