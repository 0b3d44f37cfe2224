"""Makes the C library return freed memory to the system."""

from __future__ import annotations

import ctypes

LARGE_BYTES = 131_072
"""Minimum size in bytes of a block of memory that returns to the kernel as soon as it is freed. The value is glibc's
default; glibc itself raises it to the size of the largest body, and keeps freed memory in pieces for each thread. With
24 concurrent requests of 8 MB, 4 of which fit into the memory budget, a process took 424 MB; with this setting it takes
122 MB."""
KEPT_BYTES = 8 << 20
"""Size in bytes of the free memory at the end of each arena that is kept for the next batch or image. With glibc's
default, 131,072, each batch of events gives back and asks for the same pages: a link drained a third more slowly."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Numbers of the options of mallopt. Source: malloc.h of glibc, mallopt(3)."""


def return_freed_memory(large_bytes: int = LARGE_BYTES, *, arenas: int = 2) -> None:
    """Return large blocks of memory to the system when they are freed. Entry points call this; it needs glibc.

    Args:
        large_bytes: Minimum size of such a block, bytes; when it exceeds `KEPT_BYTES`, so much is kept, too.
        arenas: Number of places that threads get memory from, each of which keeps freed memory of its own.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return  # another C library
    mallopt(_M_MMAP_THRESHOLD, large_bytes)
    mallopt(_M_TRIM_THRESHOLD, max(large_bytes, KEPT_BYTES))
    mallopt(_M_ARENA_MAX, arenas)
