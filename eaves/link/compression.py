"""Compression of bodies for the link with gzip, and decompression with a limit on the unpacked size."""

from __future__ import annotations

import gzip
import zlib

from eaves.errors import EventError, ImageTooLargeError

ENCODING = "gzip"
"""Value of the Content-Encoding header."""
LEVEL = 6
GZIP_WINDOW = 31
"""zlib window for gzip. Source: zlib's manual, inflateInit2: 15 bits of window, and 16 for a gzip header."""


def compress(body: bytes) -> bytes:
    """Compress a body for `Content-Encoding: gzip`; the result is the same for the same body."""
    return gzip.compress(body, LEVEL, mtime=0)


def decompress(body: bytes, max_bytes: int) -> bytes:
    """Return the body that was given to `compress`.

    Args:
        body: One gzip member.
        max_bytes: Maximum unpacked size, bytes; a few kilobytes can unpack to gigabytes.

    Raises:
        EventError: When the body isn't gzip, is incomplete, or is followed by other data.
        ImageTooLargeError: When the unpacked body is larger.
    """
    inflating = zlib.decompressobj(wbits=GZIP_WINDOW)
    try:
        found = inflating.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise EventError(f"the body is not gzip: {error}") from error
    if len(found) > max_bytes:
        raise ImageTooLargeError(f"the body has more than {max_bytes} bytes when unpacked", hint="send smaller batches")
    if not inflating.eof or inflating.unused_data:
        raise EventError("the gzip body is incomplete, or data follows it")
    return found
