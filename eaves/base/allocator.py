"""What the C library does with memory that bodies no longer need."""

from __future__ import annotations

import ctypes

LARGE_BYTES = 131_072
"""From this size on, memory comes from the kernel and goes back to it at once. The value is glibc's first; by itself
glibc raises it to the size of the largest body, and keeps what bodies leave, in pieces, for each thread apart: 24
requests of 8 MB at once, 4 of which fit into the budget, made a process of 424 MB, with this one of 122."""
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
"""Source: malloc.h of glibc, mallopt(3)."""


def return_freed_memory() -> None:
    """Give large pieces of memory back to the system when they are freed. For entry points; only glibc has it."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return  # another C library
    mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
    mallopt(_M_ARENA_MAX, 2)
