"""Whether an image was received to its end, when the answer doesn't say where that is."""

from __future__ import annotations

from eaves import media_type

_TAIL_BYTES = 4_096
"""Bytes from the end of the data in which an end mark may be: cameras pad with zeros or with a few bytes of theirs."""
_ENDS = {"image/jpeg": b"\xff\xd9", "image/png": b"IEND", "image/gif": b";"}


def has_end(data: bytes) -> bool:
    """Whether an image's end mark is there; True for formats that say their size at their beginning."""
    mark = _ENDS.get(media_type.sniff(data))
    return mark is None or mark in data[-_TAIL_BYTES:]
