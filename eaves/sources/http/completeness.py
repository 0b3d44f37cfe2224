"""Check whether an image was received completely, for answers that don't give their length."""

from __future__ import annotations

from eaves import media_type

_TAIL_BYTES = 4_096
"""Number of bytes at the end of the data in which the end mark is searched; cameras pad with zeros or other bytes."""
_ENDS = {"image/jpeg": b"\xff\xd9", "image/png": b"IEND", "image/gif": b";"}


def has_end(data: bytes) -> bool:
    """Return whether an image's end mark is present; True for formats that give their size at the beginning."""
    mark = _ENDS.get(media_type.sniff(data))
    return mark is None or mark in data[-_TAIL_BYTES:]
