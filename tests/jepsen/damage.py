"""Damage to a spool's files: flipped bytes and torn pages."""

from __future__ import annotations

import random
from pathlib import Path

PAGE = 4_096
SECTOR = 512


def flip_byte(path: Path, chance: random.Random) -> int:
    """Change one byte of a file; returns its offset."""
    content = bytearray(path.read_bytes())
    at = chance.randrange(len(content))
    content[at] ^= chance.randrange(1, 256)
    path.write_bytes(content)
    return at


def tear_page(path: Path, chance: random.Random) -> int:
    """Zero some sectors of one page, as a disk that lost power in a write may leave it; returns its offset."""
    content = bytearray(path.read_bytes())
    page = chance.randrange(len(content) // PAGE) * PAGE
    first = chance.randrange(PAGE // SECTOR)
    start, end = page + first * SECTOR, page + chance.randrange(first + 1, PAGE // SECTOR + 1) * SECTOR
    content[start:end] = bytes(end - start)
    path.write_bytes(content)
    return start


def zero_page(path: Path, number: int) -> None:
    """Zero one page of a file.

    Args:
        path: The file.
        number: Of the page, from 1 as SQLite counts.
    """
    content = bytearray(path.read_bytes())
    content[(number - 1) * PAGE : number * PAGE] = bytes(PAGE)
    path.write_bytes(content)
