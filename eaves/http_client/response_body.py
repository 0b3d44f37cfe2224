"""The body of an answer, read within a number of bytes and a time."""

from __future__ import annotations

import time
from typing import Any, Protocol

MAX_ERROR_BYTES = 64 << 10
"""How much of a body is read that isn't a success; more is not worth its memory."""
_CHUNK_BYTES = 64 << 10


class LargeAnswerError(OSError):
    """A success that has more bytes than are read."""


class Readable(Protocol):
    """A response of urllib3, as far as it is read here."""

    @property
    def status(self) -> int:
        """HTTP status."""

    @property
    def version(self) -> int:
        """11 for HTTP/1.1."""

    @property
    def headers(self) -> Any:
        """Headers, whose names are found in any case."""

    def read1(self, amount: int, /) -> bytes:
        """Bytes of the body that are there, at most so many; none at its end."""

    def release_conn(self) -> None:
        """Give the connection back."""

    def close(self) -> None:
        """Close the connection."""


def read_body(response: Readable, deadline: float, *, max_bytes: int) -> bytes:
    """The body of a success, or the first `MAX_ERROR_BYTES` of another one.

    A connection that wasn't read to the end is closed, and not used again.

    Args:
        response: The answer, whose body isn't read yet.
        deadline: When it must be there, monotonic seconds.
        max_bytes: Longest body of a success.

    Raises:
        LargeAnswerError: When a success is longer.
        OSError: When it breaks off or has no length, or time runs out.
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
                raise TimeoutError("time ran out within the answer")
        if success and not complete:
            raise LargeAnswerError(f"the answer is larger than {limit} bytes")
        if success and not framed and response.version >= 11:
            # The standard library takes the end of the connection for the end of the headers: a success that broke
            # off there looks like an empty one.
            raise OSError("the answer has no length and can't be told from one that broke off")
    finally:
        if complete:
            response.release_conn()
        else:
            response.close()
    return bytes(content[:limit])
