"""Reading of a response's body within limits of size and time."""

from __future__ import annotations

import time
from typing import Any, Protocol

MAX_ERROR_BYTES = 64 << 10
"""Maximum number of bytes that are read of the body of a response that isn't a success."""
_CHUNK_BYTES = 64 << 10


class LargeAnswerError(OSError):
    """A successful response whose body exceeds the maximum size."""


class Readable(Protocol):
    """Interface of a urllib3 response that `read_body` needs."""

    @property
    def status(self) -> int:
        """HTTP status."""

    @property
    def version(self) -> int:
        """HTTP version as a number; 11 is HTTP/1.1."""

    @property
    def headers(self) -> Any:
        """Headers; names are found in any case."""

    def read1(self, amount: int, /) -> bytes:
        """Return at most `amount` available bytes of the body; empty at its end."""

    def release_conn(self) -> None:
        """Return the connection to its pool."""

    def close(self) -> None:
        """Close the connection."""


def read_body(response: Readable, deadline: float, *, max_bytes: int) -> bytes:
    """Return the body of a success, or the first `MAX_ERROR_BYTES` of the body of a failure.

    A connection that wasn't read to the end is closed and not used again.

    Args:
        response: Response whose body isn't read yet.
        deadline: Time by which the body must be read, monotonic seconds.
        max_bytes: Maximum size of a success's body in bytes.

    Raises:
        LargeAnswerError: When the body of a success is larger.
        OSError: When the body breaks off or has no length, or time runs out.
    """
    success = 200 <= response.status < 300
    framed = "content-length" in response.headers or "transfer-encoding" in response.headers or response.status == 204
    limit = max_bytes if success else MAX_ERROR_BYTES
    content = bytearray()
    complete = False
    try:
        while len(content) <= limit:
            part = response.read1(_CHUNK_BYTES)
            if not part:
                complete = True
                break
            content += part
            if time.monotonic() > deadline:
                raise TimeoutError("the time limit ended before the answer was complete")
        if success and not complete:
            raise LargeAnswerError(f"the answer is larger than {limit} bytes")
        if success and not framed and response.version >= 11:
            # The standard library treats the end of the connection as the end of the headers: a success that broke off
            # there looks like an empty one.
            raise OSError("the answer has no length, so an incomplete answer can't be detected")
    finally:
        if complete:
            response.release_conn()
        else:
            response.close()
    return bytes(content[:limit])
