"""Kubernetes quantities, `250m` of a processor or `1Gi` of memory, as people write them; what a spool needs of one."""

from __future__ import annotations

import math

from eaves.platform.quantities import GI, QUEUED_PER_GI, SUFFIXES, parse_quantity


def show_cpu(processors: float) -> str:
    """As people write it: `250m`, `4`."""
    return f"{processors:g}" if processors == int(processors) else f"{round(processors * 1000)}m"


def show_memory(size_bytes: float) -> str:
    """In the largest binary unit that leaves a whole number, or in Mi."""
    for suffix in ("Gi", "Mi", "Ki"):
        amount = size_bytes / SUFFIXES[suffix]
        if amount >= 1 and amount == int(amount):
            return f"{int(amount)}{suffix}"
    return f"{round(size_bytes / SUFFIXES['Mi'])}Mi"


def find_size_fault(volume: str, largest: int, attributes: int, what: str) -> str:
    """What is wrong with the size of a volume; empty when the largest event fits into the spool on it.

    Args:
        volume: Size of the volume, a quantity.
        largest: Bytes of the largest event's data.
        attributes: Room that the spool needs beside them.
        what: What the events are, `images`.
    """
    needed = largest + attributes
    if (parse_quantity(volume) or 0.0) / GI * QUEUED_PER_GI >= needed:
        return ""
    least = show_memory(math.ceil(needed / QUEUED_PER_GI * 1024) * 2**20)
    return f"must be at least {least}, for {what} of {largest} bytes (got {volume!r})"
