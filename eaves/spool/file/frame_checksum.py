"""The checksum of SQLite's write-ahead log, and the correction of one changed byte.

Source: sqlite.org/fileformat.html, section 4.2, the checksum algorithm.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

WORD = 0xFFFFFFFF
Sum = tuple[int, int]


def checksum(content: bytes, order: str, before: Sum = (0, 0)) -> Sum:
    """Return the checksum that SQLite's write-ahead log uses, of content with an even number of words.

    Args:
        content: Words of 4 bytes each.
        order: Byte order of the words, `<` or `>`.
        before: Checksum of the preceding content, which this one continues.
    """
    first, second = before
    words: Iterator[int] = iter(struct.unpack(f"{order}{len(content) // 4}I", content))
    for one, two in zip(words, words, strict=True):
        first = (first + one + second) & WORD
        second = (second + two + first) & WORD
    return first, second


def correct(content: bytes, order: str, before: Sum, stored: Sum) -> bytes | None:
    """Return the content with one byte corrected, so that its checksum is the stored one.

    Returns None unless exactly one correction of a single byte does that. A change `d` of a word changes the two sums
    by `a * d` and `b * d`. `a` and `b` are consecutive Fibonacci numbers, so at least one of them is odd and has an
    inverse: for each word one `d` fits one sum, and the other sum decides. A change of a word's highest byte may fit
    several places, because few bits of it reach the sums.
    """
    found = checksum(content, order, before)
    first, second = (stored[0] - found[0]) & WORD, (stored[1] - found[1]) & WORD
    candidates = []
    for at, a, b in _factors(len(content)):
        change = (pow(a, -1, 1 << 32) * first if a & 1 else pow(b, -1, 1 << 32) * second) & WORD
        if (a * change - first) & WORD or (b * change - second) & WORD:
            continue
        word = int(struct.unpack_from(f"{order}I", content, at)[0])
        fixed = struct.pack(f"{order}I", (word + change) & WORD)
        if sum(one != two for one, two in zip(fixed, content[at : at + 4], strict=True)) == 1:
            candidates.append(content[:at] + fixed + content[at + 4 :])
    return candidates[0] if len(candidates) == 1 else None


def _factors(size: int) -> Iterator[tuple[int, int, int]]:
    """Yield each word's offset and the factors by which changing the word changes the two sums, from the end."""
    (a, b), (c, d) = (1, 1), (0, 1)
    for at in range(size - 8, -1, -8):
        yield at, a, b
        yield at + 4, c, d
        a, b, c, d = (a + b) & WORD, (a + 2 * b) & WORD, (c + d) & WORD, (c + 2 * d) & WORD


def split(stored: bytes) -> Sum:
    """Return the two sums of a checksum of 8 bytes, as the log stores it."""
    return int.from_bytes(stored[:4], "big"), int.from_bytes(stored[4:], "big")


def join(sums: Sum) -> bytes:
    """Return a checksum as 8 bytes, as the log stores it."""
    return struct.pack(">2I", *sums)
