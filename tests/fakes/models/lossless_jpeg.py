"""A lossless JPEG (SOF3), which Pillow reads and doesn't write. Source: ITU-T T.81, annex H."""

import struct
from collections.abc import Sequence

CATEGORIES = 9
"""Number of categories of the differences of 8-bit samples, which are their number of bits, 0 to 8."""
BITS = 4
"""Number of bits of each category's code."""


def encode_lossless(rows: Sequence[Sequence[int]]) -> bytes:
    """A grey picture of 8 bits, each sample predicted by the one to its left."""
    height, width = len(rows), len(rows[0])
    counts = bytes([0, 0, 0, CATEGORIES, *[0] * 12])
    frame = struct.pack(">BHHBBBB", 8, height, width, 1, 1, 0x11, 0)
    return b"".join(
        (
            b"\xff\xd8",
            _segment(0xC3, frame),
            _segment(0xC4, b"\0" + counts + bytes(range(CATEGORIES))),
            _segment(0xDA, bytes([1, 1, 0, 1, 0, 0])),
            _scan(rows),
            b"\xff\xd9",
        )
    )


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def _scan(rows: Sequence[Sequence[int]]) -> bytes:
    bits = []
    for number, row in enumerate(rows):
        before = rows[number - 1][0] if number else 128
        for sample in row:
            difference, before = sample - before, sample
            category = abs(difference).bit_length()
            bits.append(f"{category:0{BITS}b}")
            if category:
                bits.append(f"{difference if difference > 0 else difference + (1 << category) - 1:0{category}b}")
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    content = bytes(int(text[start : start + 8], 2) for start in range(0, len(text), 8))
    return content.replace(b"\xff", b"\xff\0")
