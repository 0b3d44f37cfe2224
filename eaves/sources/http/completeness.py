"""Check that an image was received completely, for answers that don't give their length."""

from __future__ import annotations

from eaves import media_type

_TAIL_BYTES = 4_096
"""Number of bytes at the end of the data that are searched for the end mark, because some cameras append padding."""
_ENDS = {"image/jpeg": b"\xff\xd9", "image/png": b"IEND", "image/gif": b";"}


def has_end(data: bytes) -> bool:
    """Return whether the data of an image contain the end mark of their format.

    Formats that give their size at the beginning have no end mark; the result is then True.
    """
    mark = _ENDS.get(media_type.sniff(data))
    return mark is None or mark in data[-_TAIL_BYTES:]
