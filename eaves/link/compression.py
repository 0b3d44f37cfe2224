"""gzip for bodies over the link, with a bound on what comes out of it."""

from __future__ import annotations

import gzip
import zlib

from eaves.errors import EventError, ImageTooLargeError

ENCODING = "gzip"
"""Value of the header Content-Encoding."""
LEVEL = 6
GZIP_WINDOW = 31
"""Source: zlib's manual, inflateInit2: 15 bits of window, and 16 for a gzip header."""


def compress(body: bytes) -> bytes:
    """A body with `Content-Encoding: gzip`; the same for the same body."""
    return gzip.compress(body, LEVEL, mtime=0)


def decompress(body: bytes, max_bytes: int) -> bytes:
    """What `compress` was given.

    Args:
        body: One gzip member.
        max_bytes: Most bytes that may come out of it; a few kilobytes can hold gigabytes.

    Raises:
        EventError: When it isn't gzip, or breaks off.
        ImageTooLargeError: When more comes out of it.
    """
    inflating = zlib.decompressobj(wbits=GZIP_WINDOW)
    try:
        found = inflating.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise EventError(f"the body is not gzip: {error}") from error
    if len(found) > max_bytes:
        raise ImageTooLargeError(f"the body has more than {max_bytes} bytes when unpacked", hint="send smaller batches")
    if not inflating.eof or inflating.unused_data:
        raise EventError("the gzip body breaks off, or something follows it")
    return found
