"""Damage to a spool's files: flipped bytes and torn pages."""

import random
from pathlib import Path

PAGE = 2_048
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


def destroy_block(path: Path, chance: random.Random, pages: int = 16) -> int:
    """Overwrite pages that follow each other, as a flash block that has failed reads; returns the offset."""
    content = bytearray(path.read_bytes())
    size = min(pages * PAGE, len(content))
    start = chance.randrange((len(content) - size) // PAGE + 1) * PAGE
    content[start : start + size] = chance.randbytes(size) if chance.random() < 0.5 else bytes(size)
    path.write_bytes(content)
    return start


def zero_page(path: Path, number: int) -> None:
    """Zero one page of a file.

    Args:
        path: The file.
        number: Number of the page, from 1 as SQLite counts.
    """
    content = bytearray(path.read_bytes())
    content[(number - 1) * PAGE : number * PAGE] = bytes(PAGE)
    path.write_bytes(content)
