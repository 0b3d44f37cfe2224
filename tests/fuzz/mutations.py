"""Mutations that damage bytes but keep enough of their structure to get far into their reader."""

import random
import struct
import zlib
from collections.abc import Sequence

INTERESTING = (0, 1, 2, 3, 7, 8, 16, 127, 128, 255, 256, 4095, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1)
HEAD = 64
"""Half of all damage is done within the first bytes, where the sizes are."""
MAX_BYTES = 200_000


def mutate(data: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    """A file with one to eight things wrong."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        _damage(changed, others, chance)
    del changed[MAX_BYTES:]
    if changed[:4] == b"\x89PNG" and chance.random() < 0.8:
        _mend_checksums(changed)
    return bytes(changed)


def _damage(data: bytearray, others: Sequence[bytes], chance: random.Random) -> None:
    position = chance.randrange(min(len(data), HEAD if chance.random() < 0.5 else MAX_BYTES) or 1)
    length = min(chance.choice((1, 2, 4, 12, 64, 1000)), len(data) - position)
    match chance.randrange(9):
        case 0 if data:
            data[position % len(data)] ^= 1 << chance.randrange(8)
        case 1:
            data[position : position + 1] = bytes((chance.choice((0, 1, 127, 128, 255, chance.randrange(256))),))
        case 2:
            value = chance.choice(INTERESTING) + chance.choice((0, 0, -1, 1))
            form, mask = chance.choice(((">H", 0xFFFF), ("<H", 0xFFFF), (">I", 2**32 - 1), ("<I", 2**32 - 1)))
            number = struct.pack(form, value & mask)
            data[position : position + len(number)] = number
        case 3:
            del data[position : position + length]
        case 4:
            data[position:position] = data[position : position + length] * chance.choice((1, 1, 2, 50))
        case 5:
            data[position:position] = chance.randbytes(length)
        case 6:
            del data[position:]
        case 7:
            other = chance.choice(others)
            start = chance.randrange(len(other) or 1)
            data[position : position + length] = other[start : start + chance.choice((length, 500))]
        case _:
            data[position : position + length] = bytes(length)


def _mend_checksums(data: bytearray) -> None:
    """A PNG with a wrong checksum is refused before anything else is looked at."""
    position = 8
    while position + 12 <= len(data):
        end = position + 8 + int.from_bytes(data[position : position + 4])
        if end + 4 > len(data):
            return
        data[end : end + 4] = struct.pack(">I", zlib.crc32(data[position + 4 : end]))
        position = end + 4


TEXTS = (
    "",
    "1.0",
    "0",
    "null",
    "%",
    "%00",
    "%0D%0A",
    "%ff",
    "%F0%9F%98%80",
    '"',
    '"\\',
    "\\",
    "a" * 5000,
    "é",
    "\xff",
    "-1",
)
TIMES = ("9999-12-31T24:00:00Z", "0001-01-01T00:00:00+23:59", "2026-11-24T12:00:00Z", "2026-W01-1", "1e999")
WORDS = (
    *TEXTS,
    *TIMES,
    "image/png",
    "application/json",
    "a/b;charset=x",
    "\ud800",
    "\0",
    "\r\nX: 1",
    "\u2028",
    "{}",
    "[",
)


def text(chance: random.Random) -> str:
    """A word, or two, or letters from everywhere."""
    if chance.random() < 0.8:
        return "".join(chance.choice(WORDS) for _ in range(chance.choice((1, 1, 2))))
    return "".join(chr(chance.randrange(0x11_0000)) for _ in range(chance.randrange(12)))
