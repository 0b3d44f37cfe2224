"""Reduction of a TIFF to its first picture, whose directory is rewritten with only the tags that decoding needs.

Pillow and libtiff keep every tag's value in memory, and follow directories to further pictures, EXIF and GPS. Tags may
overlap, so 20 MB can hold 65,535 tags of 20 MB each.

Source: TIFF 6.0, sections 2 and 8; Adobe Photoshop TIFF Technical Notes (Deflate, 8).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from eaves.errors import ImageError

ORIENTATION = 274
WIDTH, HEIGHT, COMPRESSION, SAMPLES, TILE_WIDTH, TILE_HEIGHT = 256, 257, 259, 277, 322, 323
MAX_SAMPLES = 6
"""Maximum number of samples per pixel, Pillow's own limit; Pillow would log each file with more."""
TILE_PIXELS = 2**20
"""Maximum number of pixels in one tile, unless the picture itself has more. libtiff allocates memory for a whole tile
even when the picture is smaller."""
MAX_VALUES = 100_000
"""Maximum number of values in one tag: 50 megapixels in tiles of 64 by 64 have 12,000 offsets; Python needs 40 bytes
for each."""

_NEEDED = frozenset((WIDTH, HEIGHT, COMPRESSION, SAMPLES, ORIENTATION, TILE_WIDTH, TILE_HEIGHT))
_NEEDED |= {258, 262, 266, 273, 278, 279, 284, 292, 293, 317, 320, 324, 325, 338, 339, 347, 529, 530, 531, 532}
_COMPRESSIONS = {1: "none", 2: "CCITT", 3: "CCITT", 4: "CCITT", 5: "LZW", 7: "JPEG", 8: "Deflate"}
_COMPRESSIONS |= {32773: "PackBits", 32946: "Deflate"}
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}


class _Entry(NamedTuple):
    tag: int
    kind: int
    values: int
    value: bytes  # four bytes: the value itself, or its offset


def keep_picture(data: bytes) -> tuple[tuple[int, int], bytes]:
    """Return the first picture's (width, height) as stored, and a TIFF that holds only this picture.

    Raises:
        ImageError: When the directory can't be read, or is built to cost more than its picture.
    """
    order = "<" if data[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        raw = [struct.unpack_from(f"{order}HHI4s", data, start + 2 + 12 * number) for number in range(count)]
    except struct.error as error:
        raise ImageError("the image is corrupt: a TIFF whose directory is cut off") from error
    entries = {entry.tag: entry for entry in map(_Entry._make, raw) if entry.tag in _NEEDED}
    for entry in entries.values():
        if entry.values > MAX_VALUES:
            raise ImageError(f"the image is corrupt: a TIFF whose tag {entry.tag} has {entry.values} values")
        if entry.values * _BYTES.get(entry.kind, 1) > len(data):
            raise ImageError(f"the image is corrupt: a TIFF whose tag {entry.tag} is larger than the file")
    width, height = (_number(order, entries.get(tag), 0) for tag in (WIDTH, HEIGHT))
    if _number(order, entries.get(SAMPLES), 1) > MAX_SAMPLES:
        raise ImageError(f"the image is corrupt: a TIFF with more than {MAX_SAMPLES} samples per pixel")
    compression = _number(order, entries.get(COMPRESSION), 1)
    if compression not in _COMPRESSIONS:
        taken = ", ".join(dict.fromkeys(_COMPRESSIONS.values()))
        raise ImageError(
            f"TIFF images with compression {compression} are not supported",
            hint=(f"save the image with one of these compressions: {taken}"),
        )
    tile = _number(order, entries.get(TILE_WIDTH), width) * _number(order, entries.get(TILE_HEIGHT), height)
    if tile > max(TILE_PIXELS, (width + 16) * (height + 16)):  # a tile's sides are multiples of 16
        raise ImageError(f"the image is corrupt: a TIFF with tiles of {tile} pixels")
    return (width, height), _with_directory(data, order, sorted(entries.values()))


def _number(order: str, entry: _Entry | None, default: int) -> int:
    """Return the first value of an integer tag whose value is in the directory itself."""
    if entry is None:
        return default
    form = {1: "B", 3: "H", 4: "I"}.get(entry.kind)
    if form is None or entry.values != 1:
        raise ImageError(f"the image is corrupt: a TIFF whose tag {entry.tag} is not a number")
    return int(struct.unpack_from(order + form, entry.value)[0])


def _with_directory(data: bytes, order: str, entries: list[_Entry]) -> bytes:
    """Return the TIFF with a new directory at its end that has the given entries and is the file's only directory."""
    padding = bytes(len(data) % 2)
    head = data[:4] + struct.pack(f"{order}I", len(data) + len(padding))
    listed = b"".join(struct.pack(f"{order}HHI4s", *entry) for entry in entries)
    return b"".join((head, memoryview(data)[8:], padding, struct.pack(f"{order}H", len(entries)), listed, bytes(4)))
