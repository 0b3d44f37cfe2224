"""How much of the volume that a spool is on its process may use."""

from __future__ import annotations

import math

from knative.quantities import parse_quantity, show_memory

QUEUED_PER_GI, DEAD_PER_GI = 500_000_000, 100_000_000
"""Bytes of a Gi for events that wait and for dead letters: the defaults of the agent (2Gi) and of the publisher (1Gi).
The rest is left to SQLite's log, its index and the free space within its pages."""
_GI = 2**30


def find_room(volume: str) -> dict[str, str]:
    """The settings that bound a spool on a volume.

    Args:
        volume: Size of the volume, a quantity.
    """
    size = (parse_quantity(volume) or 0.0) / _GI
    return {
        "spool_max_bytes": str(int(QUEUED_PER_GI * size)),
        "spool_dead_max_bytes": str(int(DEAD_PER_GI * size)),
    }


def find_size_fault(volume: str, largest: int, attributes: int, what: str) -> str:
    """What is wrong with the size of a volume; empty when the largest event fits into the spool on it.

    Args:
        volume: Size of the volume, a quantity.
        largest: Bytes of the largest event's data.
        attributes: Room that the spool needs beside them.
        what: What the events are, `images`.
    """
    needed = largest + attributes
    if (parse_quantity(volume) or 0.0) / _GI * QUEUED_PER_GI >= needed:
        return ""
    least = show_memory(math.ceil(needed / QUEUED_PER_GI * 1024) * 2**20)
    return f"must be at least {least}, for {what} of {largest} bytes (got {volume!r})"
